"""Images of releases: taken in by the robot's container engine, started, looked at and forgotten, each by its id.

An image's id is the SHA-256 of its configuration, which names its layers by their digests: the same id is the same
files. A release whose manifest has ``image`` runs as a container of it.
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

LOAD, ASK = 1800.0, 60.0  # seconds: gigabytes onto a slow card; any other question
VOLUMES = re.compile(r"(?:^| )(null|\{.*\})$")  # warnings may stand before it
Wait = Callable[[float], Any]


def load(engine: str, archive: str, image: str, wait: Wait) -> bool:
    """Has ``engine`` load ``archive``, which must give ``image``; False if that is there. Raises ``Failure``."""
    if engine not in ENGINES or not DIGEST.fullmatch(image):
        raise Failure(PROTOCOL, "no image %.80r of %.20r can be loaded" % (image, engine))
    if _has(engine, image, wait):
        return False
    _must([engine, "load", "--quiet", "--input", archive], LOAD, wait)
    if not _has(engine, image, wait):
        what = "%s loaded the archive, and it has no image with the id sha256:%s" % (engine, image)
        raise Failure(CONTAINER, what, "save the image again, with this engine's own `save`")
    return True


def pull(engine: str, reference: str, wait: Wait) -> str:
    """Has ``engine`` pull an image by its digest; its id. Raises ``Failure``."""
    if engine not in ENGINES or not is_reference(reference) or "@sha256:" not in reference:
        raise Failure(PROTOCOL, "no image %.200r of %.20r can be pulled" % (reference, engine))
    _must([engine, "pull", "--quiet", reference], LOAD, wait)
    words = _must([engine, "image", "inspect", "--format", "{{.Id}}", reference], ASK, wait)
    image = words.replace("sha256:", "").split()[-1:]
    if not image or not DIGEST.fullmatch(image[0]):
        raise Failure(CONTAINER, "%s does not tell the id of %s: %s" % (engine, reference, words))
    return image[0]


def compare(engine: str, image: str, release: str, place: str, scratch: str, wait: Wait) -> bool:  # noqa: PLR0913, PLR0917 - the image, what must be in it, and by whom it is read
    """Whether ``engine`` has the image with this id. Raises ``Failure`` if its container would not show the release.

    ``release`` is the digest of a manifest, ``place`` its folder in the image, ``scratch`` an empty folder of ours. The
    engine copies ``place`` out of a container that is created and never started: what links, hard links and whiteouts
    of the layers come to, the engine alone decides. The copy must be that release, whole and nothing else.
    """
    if engine not in ENGINES or not DIGEST.fullmatch(image):
        raise Failure(PROTOCOL, "no image %.80r of %.20r can be compared" % (image, engine))
    if not _has(engine, image, wait):
        return False
    wrong = _mounted(engine, image, place, wait) or _copied(engine, image, release, place, scratch, wait)
    if wrong:
        what = "image sha256:%.12s… does not have the release that is to be deployed: %s" % (image, wrong)
        raise Failure(RELEASE, what, "build it from what `hil deploy --container DIR` writes")
    return True


def _mounted(engine: str, image: str, place: str, wait: Wait) -> str:
    """Which volume the image declares over its release, or in it: its files are not the image's. Empty if none."""
    said = _must([engine, "image", "inspect", "--format", "{{json .Config.Volumes}}", "sha256:" + image], ASK, wait)
    found = VOLUMES.search(said)
    try:
        volumes = [os.path.normpath("/" + one).replace("//", "/") for one in dict(json.loads(found.group(1)) or {})]
    except (AttributeError, ValueError, TypeError):
        return "%s does not report its volumes: %s" % (engine, said)
    over = [one for one in volumes if (place + "/").startswith(one.rstrip("/") + "/") or one.startswith(place + "/")]
    return "it declares the volume %s" % over[0] if over else ""


def _copied(engine: str, image: str, release: str, place: str, scratch: str, wait: Wait) -> str:  # noqa: PLR0913, PLR0917 - as ``compare``
    """What is wrong with the release that a container of the image shows; empty if nothing."""
    copy = Releases(scratch)
    os.makedirs(copy.path("releases"))
    name = "hil-look-" + os.path.basename(scratch)
    try:
        # A word is needed where the image has no command of its own.
        _must([engine, "create", "--pull", "never", "--name", name, "sha256:" + image, "none"], ASK, wait)
        ended = commands.run([engine, "cp", "%s:%s" % (name, place), copy.path("releases", release)], LOAD, None, wait)
        return str(ended) or copy.damage(release)
    finally:
        commands.run([engine, "rm", "--force", "--volumes", name], ASK, None, wait)


def _must(words: List[str], seconds: float, wait: Wait) -> str:
    ended = commands.run(words, seconds, None, wait)
    if ended.why:
        what = "%s %s: %s" % (words[0], words[1], ended)
        raise Failure(CONTAINER, what, "try `%s info` there" % words[0])
    return ended.said


def _has(engine: str, image: str, wait: Wait) -> bool:
    words = [engine, "image", "inspect", "--format", "{{.Id}}", "sha256:" + image]
    ended = commands.run(words, ASK, None, wait)
    return not ended.why and image in ended.said.replace("sha256:", "").split()


def of(folder: Releases, release: Optional[str]) -> Optional[str]:
    """The id of a release's image; None where it has none. Raises ``Failure`` for a damaged release."""
    table = folder.manifest(release).get("image") if release is not None else None
    found = table.get("id") if isinstance(table, dict) else None
    return found if isinstance(found, str) and DIGEST.fullmatch(found) else None


def of_releases(folder: Releases) -> Set[str]:
    """The ids that the releases there name."""
    found = set()
    for name in folder.ordered():
        try:
            image = of(folder, name)
        except Failure:
            continue
        if image is not None:
            found.add(image)
    return found


def start(container: Dict[str, Any], image: Optional[str], within: float) -> str:
    """Runs ``image`` as the container, in place of what it was; empty, or what is wrong. It is never fetched."""
    engine, name = container["engine"], container["name"]
    commands.run([engine, "rm", "--force", name], within)  # one that stays is told by run
    if image is None:
        return "no release with an image is there: nothing runs as container %s" % name
    words = [engine, "run", "--detach", "--pull", "never", "--name", name]
    words += [*container["args"], "sha256:" + image, *container["command"]]
    return str(commands.run(words, within, reap=False))


def runs(container: Dict[str, Any], image: Optional[str]) -> str:
    """Empty where the container runs, and runs ``image``; else what is wrong."""
    engine, name = container["engine"], container["name"]
    words = [engine, "container", "inspect", "--format", "{{.State.Running}} {{.Image}}", name]
    ended = commands.run(words, ASK)
    if ended.why:
        return "container %s cannot be looked at: %s" % (name, ended)
    if ended.said.replace("sha256:", "").split()[-2:] != ["true", image]:
        return "container %s does not run image %s: %s" % (name, image, ended.said)
    return ""


def forget(container: Dict[str, Any], images: Set[str]) -> None:
    """Takes images away; one that something else still uses stays."""
    for image in sorted(images):
        commands.run([container["engine"], "image", "rm", "sha256:" + image], ASK)
