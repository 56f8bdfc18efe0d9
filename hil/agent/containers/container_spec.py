"""What a worker's container is to be, how an engine is asked for it, what its refusals mean; nothing is run here."""

import hashlib
import json
import re
from typing import Any, Dict, List, NamedTuple, Optional, Sequence, Tuple

from ..failure import CONTAINER, PROTOCOL, Failure

ENGINES = ("docker", "podman")
MOST_LETTERS = 512
REFERENCE = re.compile(
    r"(?:[A-Za-z0-9](?:[A-Za-z0-9.-]*[A-Za-z0-9])?(?::[0-9]+)?/)?"
    r"[a-z0-9]+(?:(?:\.|_{1,2}|-+)[a-z0-9]+)*(?:/[a-z0-9]+(?:(?:\.|_{1,2}|-+)[a-z0-9]+)*)*"
    r"(?::[A-Za-z0-9_][A-Za-z0-9_.-]{0,127})?"
    r"(?:@sha256:[0-9a-f]{64})?"
)
"""``[HOST[:PORT]/]PATH[:TAG][@DIGEST]``, and an image's id. Source: github.com/distribution/reference, regexp.go."""
UNMOUNTABLE = re.compile(r'[,"\x00-\x1f\x7f]')  # --mount takes a line of comma-separated values
VERSION = {"docker": "{{.Server.Version}}", "podman": "{{.Client.Version}}"}  # podman has no server
NOT_EXECUTABLE, NOT_FOUND, SIGNAL = 126, 127, 128  # exit codes of run, as of a shell
WAY_OUT = "or take container out of the target"


class Container(NamedTuple):
    """``[targets.NAME.container]`` of the config."""

    engine: str
    image: str
    args: Tuple[str, ...]
    python: str


class Image(NamedTuple):
    """The image as it is there: ``digest`` is its id (SHA-256 of its configuration), ``version`` the engine's."""

    digest: str
    version: Optional[str]


def is_reference(text: str) -> bool:
    """Whether ``text`` names an image: then it can be neither an option of the engine nor anything else."""
    return len(text) <= MOST_LETTERS and REFERENCE.fullmatch(text) is not None


def parse(text: str) -> Container:
    """What the host asks for, as JSON. Raises ``Failure`` for what cannot be meant."""
    try:
        given = json.loads(text)
        engine, image, args, python = (given[name] for name in Container._fields)
        words = [image, python, *args]
    except (ValueError, KeyError, TypeError, RecursionError) as error:
        raise Failure(PROTOCOL, "the container is not described: %s" % error) from None
    plain = isinstance(args, list) and all(isinstance(word, str) and "\0" not in word for word in words)
    if engine not in ENGINES or not plain:
        raise Failure(PROTOCOL, "the container is not described: %.200r" % (given,))
    if not is_reference(image):
        raise Failure(PROTOCOL, "%.80r names no image" % image, "write it as NAME:TAG")
    if not python or python.startswith("-"):
        raise Failure(PROTOCOL, "%.80r is no interpreter" % python, "correct python of the container")
    return Container(engine, image, tuple(args), python)


class Place(NamedTuple):
    """What of the board a container is given: the agent's ``archive``, its ``store``, folders in it to ``write``."""

    archive: str
    store: str
    write: Tuple[str, ...]

    def mounts(self) -> List[str]:
        """``--mount`` for each, at its own path. Raises ``Failure`` for a path that cannot be told to an engine."""
        words = []
        for path, rest in [(self.store, ",readonly"), (self.archive, ",readonly")] + [(one, "") for one in self.write]:
            if UNMOUNTABLE.search(path):
                what = "%r cannot be mounted into a container: it has a comma, a quote or a control character" % path
                raise Failure(CONTAINER, what, "set store to another folder")
            words += ["--mount", "type=bind,source=%s,target=%s%s" % (path, path, rest)]
        return words


def account(engine: str, user: int, group: int, groups: Sequence[int]) -> List[str]:
    """The options by which a worker is the agent's own user there, with ``groups`` besides.

    Rootless podman has the user's numbers alone, so he keeps his own groups (crun only).
    """
    if engine == "podman" and user != 0:
        return ["--userns", "keep-id", "--group-add", "keep-groups"]
    words = ["--user", "%d:%d" % (user, group)]
    for number in groups:
        words += ["--group-add", str(number)]
    return words


class Order(NamedTuple):
    """A worker's container, all that is known beforehand; ``who`` is of ``account``."""

    container: Container
    image: Image
    place: Place
    who: Tuple[str, ...]


def run_words(order: Order, name: str, folder: str) -> List[str]:
    """The command that runs one worker, which finds its supervisor through ``folder``; the user's ``args`` come last.

    The image is named by what it was seen to be, and never fetched. Raises ``Failure`` as ``Place.mounts``.
    """
    asked, place = order.container, order.place
    words = [asked.engine, "run", "--rm", "--pull", "never", "--name", name, "--cidfile", folder + "/id"]
    words += ["--network", "none", *order.who, *place.mounts(), *asked.args]
    return [*words, order.image.digest, asked.python, "-B", place.archive, "--inside", folder]


def engine_trouble(container: Container, said: str) -> Failure:
    """Why the engine itself does nothing for this user."""
    engine, low = container.engine, said.lower()
    if "permission denied" in low and ("socket" in low or ".sock" in low):
        what, advice = "this user may not use %s" % engine, "run `sudo usermod -aG docker $USER` there and log in anew"
    elif "is the docker daemon running" in low or "cannot connect to" in low:
        what, advice = "%s does not run" % engine, "run `sudo systemctl start %s` there" % engine
    else:
        what, advice = "%s refuses: %s" % (engine, said or "it does not say why"), "try `%s info` there" % engine
    return Failure(CONTAINER, what, "%s, %s" % (advice, WAY_OUT))


def absent(container: Container) -> Failure:
    """The engine's program is not there."""
    what = "%s is not there, and workers are to run in a container" % container.engine
    return Failure(CONTAINER, what, "install it (`sudo apt install %s`), %s" % (_package(container.engine), WAY_OUT))


def _package(engine: str) -> str:
    return "docker.io" if engine == "docker" else engine


def image_trouble(container: Container, said: str) -> Failure:
    """Why the engine does not tell of the image."""
    low = said.lower()
    if "no such image" in low or "not known" in low or "no such object" in low:
        what = "%s has no image %s" % (container.engine, container.image)
        return Failure(CONTAINER, what, "run `%s pull %s` there" % (container.engine, container.image))
    return engine_trouble(container, said)


def start_trouble(container: Container, code: int, said: str) -> Failure:
    """Why a container ended before its worker called, by ``run``'s exit code and what was written last."""
    image, python = container.image, container.python
    low = said.lower()
    if "exec format error" in low:
        what, advice = "image %s is built for another architecture" % image, "use one of this machine's"
    elif code == NOT_FOUND or "executable file not found" in low or "executable file `" in low:
        what = "image %s has no %s" % (image, python)
        advice = "set python of the container to its interpreter, or install one in the image"
    elif code == NOT_EXECUTABLE:
        what, advice = (
            "%s of image %s cannot be executed: %s" % (python, image, said),
            "correct python of the container",
        )
    elif "syntaxerror" in low and "hil_agent" in low:
        what, advice = "%s of image %s is older than Python 3.6" % (python, image), "set python of the container"
    else:
        what = "no worker came up in image %s (exit code %d): %s" % (image, code, said or "it wrote nothing")
        advice = "try `%s run --rm %s %s -V` there, with the same args" % (container.engine, image, python)
    return Failure(CONTAINER, what, advice)


def with_container(container: Container, image: Image, libraries: Dict[str, Any]) -> Dict[str, Any]:
    """Return ``libraries``, as a worker in the container reported them, with the facts of the container.

    ``container`` becomes part of the recorded environment and of an engine's key. ``why_not`` has a message for each
    runtime that the image lacks. Raise ``Failure`` if it lacks numpy.
    """
    if libraries.get("numpy") is None:
        what = "%s in image %s cannot import numpy" % (container.python, container.image)
        raise Failure(CONTAINER, what, "install it in the image, or set python of the container to one that has it")
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
