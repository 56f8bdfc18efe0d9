"""Loads, pulls, compares and removes the container images of releases, and starts and inspects their containers.

An image is named by its id, the SHA-256 of its configuration, without ``sha256:``; only ``pull`` takes a reference, and
returns the id. Equal ids mean equal files. ``engine`` is a container engine: docker or podman. While a command runs,
``wait`` is called repeatedly with the seconds to wait. Invalid arguments raise ``Failure``.
"""

import json
import os
import re
from typing import Any, Callable, Dict, List, Optional, Set

from ..failure import CONTAINER, PROTOCOL, RELEASE, Failure
from ..releases import commands
from ..releases.manifest import DIGEST
from ..releases.releases import Releases
from .container_spec import ENGINES, is_reference

LOAD, ASK = 1800.0, 60.0  # seconds: loading gigabytes onto a slow card; any other command
VOLUMES = re.compile(r"(?:^| )(null|\{.*\})$")  # warnings may precede it
Wait = Callable[[float], Any]


def load(engine: str, archive: str, image: str, wait: Wait) -> bool:
    """Make ``engine`` load ``image`` (an id) from the file ``archive``. Return False if it had the image, else True.

    Raise ``Failure`` if the engine fails or the archive lacks the image.
    """
    if engine not in ENGINES or not DIGEST.fullmatch(image):
        raise Failure(PROTOCOL, "image %.80r cannot be loaded with %.20r" % (image, engine))
    if _has(engine, image, wait):
        return False
    _must([engine, "load", "--quiet", "--input", archive], LOAD, wait)
    if not _has(engine, image, wait):
        what = "%s loaded the archive, but it does not contain an image with the id sha256:%s" % (engine, image)
        raise Failure(CONTAINER, what, "save the image again with `%s save`" % engine)
    return True


def pull(engine: str, reference: str, wait: Wait) -> str:
    """Pull an image with ``engine`` by ``reference``, which must end with a digest, and return the image's id.

    Raise ``Failure`` if the engine fails.
    """
    if engine not in ENGINES or not is_reference(reference) or "@sha256:" not in reference:
        raise Failure(PROTOCOL, "image %.200r cannot be pulled with %.20r" % (reference, engine))
    _must([engine, "pull", "--quiet", reference], LOAD, wait)
    words = _must([engine, "image", "inspect", "--format", "{{.Id}}", reference], ASK, wait)
    image = words.replace("sha256:", "").split()[-1:]
    if not image or not DIGEST.fullmatch(image[0]):
        what = "%s does not report the id of %s: %s" % (engine, reference, words)
        raise Failure(CONTAINER, what, "run `%s image inspect %s` there to find the reason" % (engine, reference))
    return image[0]


def compare(engine: str, image: str, release: str, place: str, scratch: str, wait: Wait) -> bool:  # noqa: PLR0913, PLR0917 - the image, its expected content, and the engine that reads it
    """Compare the files of an image with a release. Return False, without comparing, if ``engine`` lacks the image.

    ``image`` is an id, ``release`` the release's digest, ``place`` its folder in the image, ``scratch`` an empty
    folder. Raise ``Failure`` if the files in ``place`` are not exactly the release, or the engine fails.
    """
    if engine not in ENGINES or not DIGEST.fullmatch(image):
        raise Failure(PROTOCOL, "image %.80r cannot be compared with %.20r" % (image, engine))
    if not _has(engine, image, wait):
        return False
    trouble = _volume_trouble(engine, image, place, wait) or _damage(engine, image, release, place, scratch, wait)
    if trouble:
        what = "image sha256:%.12s… does not have the release that is to be deployed: %s" % (image, trouble)
        raise Failure(RELEASE, what, "build it from the folder that `hil deploy --container DIR` writes")
    return True


def _volume_trouble(engine: str, image: str, place: str, wait: Wait) -> str:
    """Return a message if the image declares a volume that would hide files in ``place``; otherwise an empty string."""
    output = _must([engine, "image", "inspect", "--format", "{{json .Config.Volumes}}", "sha256:" + image], ASK, wait)
    match = VOLUMES.search(output)
    try:
        paths = dict(json.loads(match.group(1)) or {})
        volumes = [os.path.normpath("/" + path).replace("//", "/") for path in paths]
    except (AttributeError, ValueError, TypeError):
        return "%s does not report its volumes: %s" % (engine, output)
    for volume in volumes:
        if (place + "/").startswith(volume.rstrip("/") + "/") or volume.startswith(place + "/"):
            return "it declares the volume %s" % volume
    return ""


def _damage(engine: str, image: str, release: str, place: str, scratch: str, wait: Wait) -> str:  # noqa: PLR0913, PLR0917 - as ``compare``
    """Return a message about what is wrong with the release in the image; empty if nothing is wrong."""
    copy = Releases(scratch)
    os.makedirs(copy.path("releases"))
    name = "hil-look-" + os.path.basename(scratch)
    try:
        # The last word is a command, which create requires if the image declares no command.
        _must([engine, "create", "--pull", "never", "--name", name, "sha256:" + image, "none"], ASK, wait)
        ended = commands.run([engine, "cp", "%s:%s" % (name, place), copy.path("releases", release)], LOAD, None, wait)
        return str(ended) or copy.damage(release)
    finally:
        commands.run([engine, "rm", "--force", "--volumes", name], ASK, None, wait)


def _must(words: List[str], seconds: float, wait: Wait) -> str:
    ended = commands.run(words, seconds, None, wait)
    if ended.why:
        what = "%s %s: %s" % (words[0], words[1], ended)
        raise Failure(CONTAINER, what, "run `%s info` there, which may show the reason" % words[0])
    return ended.output


def _has(engine: str, image: str, wait: Wait) -> bool:
    words = [engine, "image", "inspect", "--format", "{{.Id}}", "sha256:" + image]
    ended = commands.run(words, ASK, None, wait)
    return not ended.why and image in ended.output.replace("sha256:", "").split()


def of(folder: Releases, release: Optional[str]) -> Optional[str]:
    """Return the id of the image of ``release``, a digest in ``folder``; None if ``release`` is None or has no image.

    Raise ``Failure`` if the release's manifest is damaged.
    """
    table = folder.manifest(release).get("image") if release is not None else None
    image = table.get("id") if isinstance(table, dict) else None
    return image if isinstance(image, str) and DIGEST.fullmatch(image) else None


def of_releases(folder: Releases) -> Set[str]:
    """Return the ids of the images of all releases in ``folder``; damaged releases are skipped."""
    ids = set()
    for name in folder.ordered():
        try:
            image = of(folder, name)
        except Failure:
            continue
        if image is not None:
            ids.add(image)
    return ids


def start(container: Dict[str, Any], image: Optional[str], within: float) -> str:
    """Remove the old container and start a new one of ``image`` (an id); return an empty text, or why this failed.

    ``container`` has the keys ``engine``, ``name``, ``args`` and ``command``. If ``image`` is None, nothing is started,
    and the result states this. ``within`` is the limit of each command in seconds.
    """
    engine, name = container["engine"], container["name"]
    commands.run([engine, "rm", "--force", name], within)  # if this fails, run reports the name as taken
    if image is None:
        return "the current release has no image, so container %s was not started" % name
    words = [engine, "run", "--detach", "--pull", "never", "--name", name]
    words += [*container["args"], "sha256:" + image, *container["command"]]
    return str(commands.run(words, within, reap=False))


def trouble(container: Dict[str, Any], image: Optional[str]) -> str:
    """Return why the container does not run ``image`` (an id); empty if it does. ``container`` is as for ``start``."""
    engine, name = container["engine"], container["name"]
    words = [engine, "container", "inspect", "--format", "{{.State.Running}} {{.Image}}", name]
    ended = commands.run(words, ASK)
    if ended.why:
        return "container %s cannot be inspected: %s" % (name, ended)
    if ended.output.replace("sha256:", "").split()[-2:] != ["true", image]:
        return "container %s does not run image %s: %s" % (name, image, ended.output)
    return ""


def remove(container: Dict[str, Any], images: Set[str]) -> None:
    """Remove ``images`` (ids) with the engine of ``container``; images in use by a container stay."""
    for image in sorted(images):
        commands.run([container["engine"], "image", "rm", "sha256:" + image], ASK)
