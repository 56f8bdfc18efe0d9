"""Checks an image's archive (``docker save``, ``podman save``) without unpacking or running anything.

Sources: Docker image specification v1.2 (``manifest.json``, whiteouts); OCI image layout.
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
"""Folder of the release within an image."""
PARENTS = ("opt", "opt/hil", FOLDER)
WHITEOUT, OPAQUE = ".wh.", ".wh..wh..opq"
SMALL = 8 << 20
"""Limit: bytes of a JSON file in an archive."""
MOST_LAYERS, MOST_MEMBERS, MOST_BYTES = 200, 2_000_000, 64 << 30
"""Limits: layers of an image, files of a layer, and bytes of an unpacked layer."""
CHUNK = 1 << 20
DIGEST = re.compile(r"[0-9a-f]{64}")
GZIP = b"\x1f\x8b"


@dataclass(frozen=True)
class Archive:
    """An archive of one image.

    ``image`` is the image's id, the SHA-256 of its configuration; ``files`` maps each path below ``FOLDER`` to its
    SHA-256.
    """

    path: Path
    image: str
    files: dict[str, str] = field(repr=False)


def verified(path: Path, release: Release) -> Archive:
    """Return the archive at ``path`` if its layers have exactly the files of this release below ``FOLDER``.

    Raises ``DeployRefused`` if the files differ, or if ``path`` is not a complete archive of one image.
    """
    archive = read(path)
    expected = dict(_expected(release))
    for name in sorted(set(expected) | set(archive.files)):
        if name not in archive.files:
            raise _refused(path, f"/{FOLDER}/{name} is missing in its image", BUILD)
        if name not in expected:
            raise _refused(path, f"/{FOLDER}/{name} in its image does not belong to the release", BUILD)
        if archive.files[name] != expected[name]:
            what = f"/{FOLDER}/{name} in its image has SHA-256 {archive.files[name][:12]}…, but the release has"
            raise _refused(path, f"{what} {expected[name][:12]}…", BUILD)
    return archive


BUILD = "build it from the output of `hil deploy --container DIR` for this report and config"
SAVE = "save it again with `docker save` or `podman save`, as the only image"


def _expected(release: Release) -> Iterator[tuple[str, str]]:
    for file in json.loads(release.manifest)["files"]:
        yield file["path"], file["sha256"]
    yield "manifest.json", release.digest


def read(path: Path) -> Archive:
    """Return what the archive at ``path`` has below ``FOLDER``, after a check of each layer's digest.

    Raises ``DeployRefused`` if it is not a complete archive of one image.
    """
    try:
        with tarfile.open(path, "r:") as archive:
            return _read(path, archive)
    except (tarfile.TarError, EOFError, OSError, ValueError, KeyError, TypeError, LookupError, RecursionError) as error:
        reason = getattr(error, "strerror", None) or str(error) or "it is truncated"
        raise _refused(path, f"it is not a complete archive of an image: {reason}", SAVE) from None


def _read(path: Path, archive: tarfile.TarFile) -> Archive:
    listed = json.loads(_small(archive, "manifest.json"))
    if not isinstance(listed, list) or len(listed) != 1:
        raise ValueError("it does not have exactly one image")
    config = _small(archive, listed[0]["Config"])
    image = hashlib.sha256(config).hexdigest()
    diffs, layers = json.loads(config)["rootfs"]["diff_ids"], listed[0]["Layers"]
    if not isinstance(layers, list) or not isinstance(diffs, list) or not 0 < len(layers) == len(diffs) <= MOST_LAYERS:
        raise ValueError("its list of layers does not match its configuration")
    files: dict[str, str] = {}
    for name, diff in zip(layers, diffs, strict=True):
        with _member(archive, name) as layer:
            if f"sha256:{_apply(layer, files)}" != diff:
                raise ValueError(f"layer {str(name)[:80]} is not the one that its image names")
    return Archive(path, image, files)


def _member(archive: tarfile.TarFile, name: object) -> IO[bytes]:
    if not isinstance(name, str):
        raise TypeError("a file name in it is not text")
    member = archive.getmember(name)
    # docker writes a repeated layer as a link within the archive; extractfile follows no other links.
    file = archive.extractfile(member)
    if file is None:
        raise ValueError(f"{name[:80]} is not a file")
    return file


def _small(archive: tarfile.TarFile, name: object) -> bytes:
    with _member(archive, name) as file:
        content = file.read(SMALL + 1)
    if len(content) > SMALL:
        raise ValueError(f"{str(name)[:80]} has more than {SMALL >> 20} MiB")
    return content


class _Hashed(io.RawIOBase):
    """A reader that hashes the bytes it reads, and raises ``ValueError`` after more than ``MOST_BYTES``."""

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
    """Apply a layer's changes below ``FOLDER`` to ``files``; return the SHA-256 of the unpacked layer."""
    packed = layer.read(2) == GZIP
    layer.seek(0)
    source: Any = gzip.GzipFile(fileobj=layer) if packed else layer
    stream = _Hashed(source)
    added: dict[str, str] = {}
    with tarfile.open(fileobj=stream, mode="r|", bufsize=CHUNK) as members:
        for number, member in enumerate(members):
            if number >= MOST_MEMBERS:
                raise ValueError(f"a layer has more than {MOST_MEMBERS} files")
            _apply_member(members, member, files, added)
    while stream.read(CHUNK):
        pass
    files.update(added)
    return stream.state.hexdigest()


def _apply_member(
    members: tarfile.TarFile, member: tarfile.TarInfo, files: dict[str, str], added: dict[str, str]
) -> None:
    """Apply one entry of a layer: ``files`` are those of the layers below, ``added`` those of this layer."""
    if ".." in member.name.split("/"):
        raise ValueError(f"{member.name[:120]!r} in it has a `..`")
    path = "/".join(part for part in member.name.split("/") if part not in {"", "."})
    folder, _, name = path.rpartition("/")
    if name.startswith(WHITEOUT):
        deleted = folder if name == OPAQUE else f"{folder}/{name[len(WHITEOUT) :]}".lstrip("/")
        for file in [file for file in files if _within(f"{FOLDER}/{file}", deleted)]:
            del files[file]
        return
    if path in PARENTS and not member.isdir():
        raise ValueError(f"/{path} in it is not a folder")
    if not path.startswith(f"{FOLDER}/"):
        return
    inside = path[len(FOLDER) + 1 :]
    if member.isdir():  # replaces a file of that name
        files.pop(inside, None)
        added.pop(inside, None)
        return
    content = members.extractfile(member) if member.isreg() else None
    if content is None:
        raise ValueError(f"/{path[:120]} in it is not a regular file")
    state = hashlib.sha256()
    while chunk := content.read(CHUNK):
        state.update(chunk)
    added[inside] = state.hexdigest()


def _within(path: str, folder: str) -> bool:
    return path == folder or path.startswith(f"{folder}/") or not folder


def _refused(path: Path, what: str, then: str) -> DeployRefused:
    return DeployRefused(f"{path} is refused: {what}: {then}")
