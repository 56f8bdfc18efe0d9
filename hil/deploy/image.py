"""An image's archive (``docker save``, ``podman save``), read where it lies: nothing of it is unpacked or run.

This only refuses early, before gigabytes are sent. It compares the names in the layers, and a container engine may
resolve those to other files (a link in a layer, then a file below that name). What counts is what the robot's engine
shows in a container of the image (``hil.agent.containers.images.compare``).

Source of the formats: the Docker image specification v1.2 (``manifest.json``, whiteouts) and the OCI image layout.
"""

from __future__ import annotations

import gzip
import hashlib
import io
import json
import re
import tarfile
from dataclasses import dataclass, field
from typing import IO, TYPE_CHECKING, Any

from hil.errors import DeployRefused

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from hil.deploy.release import Release

FOLDER = "opt/hil/release"
"""Where the release lies in an image."""
PARENTS = ("opt", "opt/hil", FOLDER)
WHITEOUT, OPAQUE = ".wh.", ".wh..wh..opq"
SMALL = 8 << 20
"""Bytes of an archive's tables."""
MOST_LAYERS, MOST_MEMBERS, MOST_BYTES = 200, 2_000_000, 64 << 30
"""Layers of an image, files and bytes of a layer once it is unpacked."""
CHUNK = 1 << 20
DIGEST = re.compile(r"[0-9a-f]{64}")
GZIP = b"\x1f\x8b"


@dataclass(frozen=True)
class Archive:
    """``image`` is its id, the SHA-256 of its configuration; ``files`` those below ``FOLDER``, by their SHA-256."""

    path: Path
    image: str
    files: dict[str, str] = field(repr=False)


def verified(path: Path, release: Release) -> Archive:
    """The archive at ``path`` if by the names in its layers it has this release, whole, and nothing else there.

    Raises ``DeployRefused`` for any other, and for what is no whole archive of one image.
    """
    found = read(path)
    wanted = dict(_wanted(release))
    for name in sorted(set(wanted) | set(found.files)):
        if name not in found.files:
            raise _refused(path, f"/{FOLDER}/{name} is missing in its image", BUILD)
        if name not in wanted:
            raise _refused(path, f"/{FOLDER}/{name} in its image does not belong to the release", BUILD)
        if found.files[name] != wanted[name]:
            what = f"/{FOLDER}/{name} in its image has SHA-256 {found.files[name][:12]}…, and the release has"
            raise _refused(path, f"{what} {wanted[name][:12]}…", BUILD)
    return found


BUILD = "build it from what `hil deploy --container DIR` writes for this report and config"
SAVE = "save it again, with `docker save` or `podman save`, one image alone"


def _wanted(release: Release) -> Iterator[tuple[str, str]]:
    for one in json.loads(release.manifest)["files"]:
        yield one["path"], one["sha256"]
    yield "manifest.json", release.digest


def read(path: Path) -> Archive:
    """What an archive has below ``FOLDER``. Every layer is held against the digest that the image's id stands for."""
    try:
        with tarfile.open(path, "r:") as archive:
            return _read(path, archive)
    except (tarfile.TarError, EOFError, OSError, ValueError, KeyError, TypeError, LookupError, RecursionError) as error:
        reason = getattr(error, "strerror", None) or str(error) or "it is cut"
        raise _refused(path, f"it is no whole archive of an image: {reason}", SAVE) from None


def _read(path: Path, archive: tarfile.TarFile) -> Archive:
    listed = json.loads(_small(archive, "manifest.json"))
    if not isinstance(listed, list) or len(listed) != 1:
        raise ValueError("it does not have one image")
    config = _small(archive, listed[0]["Config"])
    image = hashlib.sha256(config).hexdigest()
    diffs, layers = json.loads(config)["rootfs"]["diff_ids"], listed[0]["Layers"]
    if not isinstance(layers, list) or not isinstance(diffs, list) or not 0 < len(layers) == len(diffs) <= MOST_LAYERS:
        raise ValueError("its layers are not those of its image")
    files: dict[str, str] = {}
    for name, diff in zip(layers, diffs, strict=True):
        with _member(archive, name) as layer:
            if f"sha256:{_apply(layer, files)}" != diff:
                raise ValueError(f"layer {str(name)[:80]} is not the one that its image names")
    return Archive(path, image, files)


def _member(archive: tarfile.TarFile, name: object) -> IO[bytes]:
    if not isinstance(name, str):
        raise TypeError("a name in it is none")
    member = archive.getmember(name)
    # docker writes a layer that is there twice as a link within the archive; extractfile follows that, and no other.
    found = archive.extractfile(member)
    if found is None:
        raise ValueError(f"{name[:80]} is no file")
    return found


def _small(archive: tarfile.TarFile, name: object) -> bytes:
    with _member(archive, name) as file:
        content = file.read(SMALL + 1)
    if len(content) > SMALL:
        raise ValueError(f"{str(name)[:80]} has more than {SMALL >> 20} MiB")
    return content


class _Hashed(io.RawIOBase):
    """Hands on what is read and hashes it; no more than ``MOST_BYTES``."""

    def __init__(self, source: IO[bytes]) -> None:
        super().__init__()
        self.source = source
        self.state = hashlib.sha256()
        self.size = 0

    def read(self, size: int = -1, /) -> bytes:
        piece = self.source.read(size if size >= 0 else CHUNK)
        self.state.update(piece)
        self.size += len(piece)
        if self.size > MOST_BYTES:
            raise ValueError(f"a layer has more than {MOST_BYTES >> 30} GiB")
        return piece


def _apply(layer: IO[bytes], files: dict[str, str]) -> str:
    """Brings one layer's changes below ``FOLDER`` to ``files``; its own SHA-256, unpacked."""
    packed = layer.read(2) == GZIP
    layer.seek(0)
    source: Any = gzip.GzipFile(fileobj=layer) if packed else layer
    stream = _Hashed(source)
    added: dict[str, str] = {}
    with tarfile.open(fileobj=stream, mode="r|", bufsize=CHUNK) as members:
        for number, member in enumerate(members):
            if number > MOST_MEMBERS:
                raise ValueError(f"a layer has more than {MOST_MEMBERS} files")
            _take(members, member, files, added)
    while stream.read(CHUNK):
        pass
    files.update(added)
    return stream.state.hexdigest()


def _take(members: tarfile.TarFile, member: tarfile.TarInfo, files: dict[str, str], added: dict[str, str]) -> None:
    """One entry of a layer: ``files`` are of the layers below it, ``added`` its own."""
    if ".." in member.name.split("/"):
        raise ValueError(f"{member.name[:120]!r} in it leads elsewhere")
    path = "/".join(part for part in member.name.split("/") if part not in {"", "."})
    folder, _, name = path.rpartition("/")
    if name.startswith(WHITEOUT):
        gone = folder if name == OPAQUE else f"{folder}/{name[len(WHITEOUT) :]}".lstrip("/")
        for one in [one for one in files if _within(f"{FOLDER}/{one}", gone)]:
            del files[one]
        return
    if path in PARENTS and not member.isdir():
        raise ValueError(f"/{path} in it is no folder")
    if not path.startswith(f"{FOLDER}/"):
        return
    inside = path[len(FOLDER) + 1 :]
    if member.isdir():  # in place of a file, if there was one
        files.pop(inside, None)
        added.pop(inside, None)
        return
    content = members.extractfile(member) if member.isreg() else None
    if content is None:
        raise ValueError(f"/{path[:120]} in it is no plain file")
    state = hashlib.sha256()
    while chunk := content.read(CHUNK):
        state.update(chunk)
    added[inside] = state.hexdigest()


def _within(path: str, folder: str) -> bool:
    return path == folder or path.startswith(f"{folder}/") or not folder


def _refused(path: Path, what: str, then: str) -> DeployRefused:
    return DeployRefused(f"{path} is refused: {what}: {then}")
