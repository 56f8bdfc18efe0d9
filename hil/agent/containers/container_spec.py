"""Describes the container of a worker, and gives the engine's command line and the meaning of the engine's errors.

Here, an engine is a container engine (docker, podman). This module runs no commands.
"""

import hashlib
import json
import re
import shlex
from typing import Any, Dict, List, NamedTuple, Optional, Sequence, Tuple

from ..failure import CONTAINER, PROTOCOL, Failure

ENGINES = ("docker", "podman")
MOST_CHARACTERS = 512
REFERENCE = re.compile(
    r"(?:[A-Za-z0-9](?:[A-Za-z0-9.-]*[A-Za-z0-9])?(?::[0-9]+)?/)?"
    r"[a-z0-9]+(?:(?:\.|_{1,2}|-+)[a-z0-9]+)*(?:/[a-z0-9]+(?:(?:\.|_{1,2}|-+)[a-z0-9]+)*)*"
    r"(?::[A-Za-z0-9_][A-Za-z0-9_.-]{0,127})?"
    r"(?:@sha256:[0-9a-f]{64})?"
)
"""``[HOST[:PORT]/]PATH[:TAG][@DIGEST]`` or an image's id. Source: github.com/distribution/reference, regexp.go."""
UNMOUNTABLE = re.compile(r'[,"\x00-\x1f\x7f]')  # the value of --mount is one line of comma-separated fields
VERSION = {"docker": "{{.Server.Version}}", "podman": "{{.Client.Version}}"}  # podman has no server
NOT_EXECUTABLE, NOT_FOUND, SIGNAL = 126, 127, 128  # exit codes of run, with the meaning of a shell's
WAY_OUT = "or remove container from the target"


class Container(NamedTuple):
    """The table ``[targets.NAME.container]`` of the config.

    ``engine`` is one of ``ENGINES``, ``image`` an image reference, ``args`` further options of the engine's ``run``,
    ``python`` the interpreter in the image.
    """

    engine: str
    image: str
    args: Tuple[str, ...]
    python: str


class Image(NamedTuple):
    """The image on the board, and the ``version`` of the container engine (None if unknown).

    ``digest`` is the image's id: ``sha256:`` and the SHA-256 of the image's configuration.
    """

    digest: str
    version: Optional[str]


def is_reference(text: str) -> bool:
    """Return whether ``text`` is an image reference of at most ``MOST_CHARACTERS``."""
    return len(text) <= MOST_CHARACTERS and REFERENCE.fullmatch(text) is not None


def parse(text: str) -> Container:
    """Return the container that ``text``, JSON from the host, describes. Raise ``Failure`` if it is invalid."""
    try:
        table = json.loads(text)
        engine, image, args, python = (table[name] for name in Container._fields)
        texts = [image, python, *args]
    except (ValueError, KeyError, TypeError, RecursionError) as error:
        raise Failure(PROTOCOL, "the description of the container is invalid: %s" % error) from None
    plain = isinstance(args, list) and all(isinstance(item, str) and "\0" not in item for item in texts)
    if engine not in ENGINES or not plain:
        raise Failure(PROTOCOL, "the description of the container is invalid: %.200r" % (table,))
    if not is_reference(image):
        raise Failure(PROTOCOL, "%.80r is not an image reference" % image, "write it as NAME:TAG")
    if not python or python.startswith("-"):
        raise Failure(PROTOCOL, "%.80r is not an interpreter" % python, "set python of the container to an interpreter")
    return Container(engine, image, tuple(args), python)


class Mounts(NamedTuple):
    """The files of the board that a container can access.

    The agent's ``archive`` and ``store`` are read-only. Only the folders ``write`` inside the store are writable.
    """

    archive: str
    store: str
    write: Tuple[str, ...]

    def options(self) -> List[str]:
        """Return the words ``--mount VALUE`` for each path, as one list; in the container the paths are the same.

        Raise ``Failure`` if a path has a character that the option's syntax forbids.
        """
        words = []
        read_only = [(self.store, ",readonly"), (self.archive, ",readonly")]
        for path, rest in read_only + [(folder, "") for folder in self.write]:
            if UNMOUNTABLE.search(path):
                what = "%r cannot be mounted into a container: it has a comma, a quote or a control character" % path
                raise Failure(CONTAINER, what, "set store to another folder")
            words += ["--mount", "type=bind,source=%s,target=%s%s" % (path, path, rest)]
        return words


def account(engine: str, user: int, group: int, groups: Sequence[int]) -> List[str]:
    """Return the engine's options that run a worker under the numeric ids ``user``, ``group`` and ``groups``.

    For rootless podman (``user`` is not 0), the options keep the ids and groups of the process that starts it; this
    requires the OCI runtime crun.
    """
    if engine == "podman" and user != 0:
        return ["--userns", "keep-id", "--group-add", "keep-groups"]
    words = ["--user", "%d:%d" % (user, group)]
    for number in groups:
        words += ["--group-add", str(number)]
    return words


class Order(NamedTuple):
    """What ``run_words`` needs to start a worker's container; ``user_options`` is the result of ``account``."""

    container: Container
    image: Image
    mounts: Mounts
    user_options: Tuple[str, ...]


def run_words(order: Order, name: str, folder: str) -> List[str]:
    """Return the command that starts one worker in a container called ``name``; it never pulls an image.

    ``folder`` contains the supervisor's socket. Raise ``Failure`` if a path cannot be mounted.
    """
    container, mounts = order.container, order.mounts
    words = [container.engine, "run", "--rm", "--pull", "never", "--name", name, "--cidfile", folder + "/id"]
    words += ["--network", "none", *order.user_options, *mounts.options(), *container.args]
    return [*words, order.image.digest, container.python, "-B", mounts.archive, "--inside", folder]


def engine_trouble(container: Container, output: str) -> Failure:
    """Return the failure for an error of the engine itself, rather than of an image or a container.

    ``output`` is what the engine wrote.
    """
    engine, low = container.engine, output.lower()
    if "permission denied" in low and ("socket" in low or ".sock" in low):
        what, advice = "this user may not use %s" % engine, "run `sudo usermod -aG docker $USER` there and log in again"
    elif "is the docker daemon running" in low or "cannot connect to" in low:
        what, advice = "%s is not running" % engine, "run `sudo systemctl start %s` there" % engine
    else:
        what = "%s failed: %s" % (engine, output or "it printed no reason")
        advice = "run `%s info` there, which may show the reason" % engine
    return Failure(CONTAINER, what, "%s, %s" % (advice, WAY_OUT))


def absent(container: Container) -> Failure:
    """Return the failure for a container engine that is not installed."""
    what = "%s is not installed, but the target's workers run in a container" % container.engine
    return Failure(CONTAINER, what, "install it (`sudo apt install %s`), %s" % (_package(container.engine), WAY_OUT))


def _package(engine: str) -> str:
    return "docker.io" if engine == "docker" else engine


def image_trouble(container: Container, output: str) -> Failure:
    """Return the failure for an image that the engine could not inspect; ``output`` is what the engine wrote."""
    low = output.lower()
    if "no such image" in low or "not known" in low or "no such object" in low:
        what = "%s has no image %s" % (container.engine, container.image)
        return Failure(CONTAINER, what, "run `%s pull %s` there" % (container.engine, container.image))
    return engine_trouble(container, output)


def start_trouble(container: Container, code: int, output: str) -> Failure:
    """Return the failure for a container that ended before its worker connected.

    ``code`` is the exit code of the engine's ``run``; ``output`` is the end of what ``run`` wrote.
    """
    image, python = container.image, container.python
    low = output.lower()
    if "exec format error" in low:
        what, advice = "image %s is built for another architecture" % image, "use an image for this machine"
    elif code == NOT_FOUND or "executable file not found" in low or "executable file `" in low:
        what = "image %s has no %s" % (image, python)
        advice = "set python of the container to its interpreter, or install one in the image"
    elif code == NOT_EXECUTABLE:
        what, advice = (
            "%s of image %s cannot be executed: %s" % (python, image, output),
            "set python of the container to an executable interpreter",
        )
    elif "syntaxerror" in low and "hil_agent" in low:
        what, advice = (
            "%s of image %s is older than Python 3.6" % (python, image),
            "set python of the container to a newer interpreter",
        )
    else:
        what = "no worker started in image %s (exit code %d): %s" % (image, code, output or "it wrote nothing")
        command = (container.engine, "run", "--rm", *container.args, image, python, "-V")
        advice = "run `%s` on the target to find the cause" % " ".join(map(shlex.quote, command))
    return Failure(CONTAINER, what, advice)


def with_container(container: Container, image: Image, libraries: Dict[str, Any]) -> Dict[str, Any]:
    """Return ``libraries``, a worker's report of its library versions, with the keys ``container`` and ``why_not``.

    ``container`` has the container's facts. ``why_not`` maps each runtime that the image lacks to a message. Raise
    ``Failure`` if the image lacks numpy.
    """
    if libraries.get("numpy") is None:
        what = "%s in image %s cannot import numpy" % (container.python, container.image)
        raise Failure(CONTAINER, what, "install it in the image, or set python of the container to another interpreter")
    reasons = {
        name: "image %s has no %s that %s can import" % (container.image, name, container.python)
        for name, version in libraries["runtimes"].items()
        if version is None
    }
    # The args decide, as the image does, which libraries are found. Only their digest is kept: they may have secrets.
    how = json.dumps([container.args, container.python]).encode()
    facts = {"engine": container.engine, "version": image.version, "image": container.image, "digest": image.digest}
    facts.update(python=container.python, args_digest=hashlib.sha256(how).hexdigest())
    return dict(libraries, container=facts, why_not=reasons)
