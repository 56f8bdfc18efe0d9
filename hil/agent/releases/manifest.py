"""Read the manifest of a release, which lists its files, and refuse every path outside of the release's folder."""

import json
import re
from typing import Any, Dict, List, NamedTuple, Set, Tuple

from ..failure import RELEASE, Failure

NAME = "manifest.json"
SCHEMA = 1
LARGEST = 1 << 20  # bytes of a manifest
MOST_FILES = 1000
MOST_BYTES = 64 << 30  # of one file: the memory of the largest Jetson
PART = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.+-]{0,199}")
"""One part of a path: no leading dot, and no character that is special to a shell, a terminal or a file system."""
DEEPEST = 4
DIGEST = re.compile(r"[0-9a-f]{64}")
KEYS = frozenset(("path", "sha256", "size"))


class Entry(NamedTuple):
    """One file of a release: ``path`` relative to the release's folder, its SHA-256 in hex, its ``size`` in bytes."""

    path: str
    sha256: str
    size: int


def parse(content: bytes) -> Dict[str, Any]:
    """Return the manifest in ``content``. Raise ``Failure`` if it is not a manifest, or a JSON object repeats a key."""
    if len(content) > LARGEST:
        raise _refused("it is larger than %d bytes" % LARGEST)
    try:
        table = json.loads(content.decode("utf-8"), object_pairs_hook=_unique)
    except (ValueError, RecursionError) as error:
        raise _refused(str(error) or "it is nested too deeply") from None
    if not isinstance(table, dict) or type(table.get("schema")) is not int or table["schema"] != SCHEMA:
        raise _refused("its schema is not %d" % SCHEMA)
    if not isinstance(table.get("files"), list):
        raise _refused("it lists no files")
    return table


def entries(manifest: Dict[str, Any]) -> List[Entry]:
    """Return the files of a parsed manifest.

    Raise ``Failure`` for an invalid path, digest or size, for paths that collide, and for no or too many files.
    """
    files = manifest["files"]
    if not 0 < len(files) <= MOST_FILES:
        raise _refused("it lists %d files, 1 to %d are allowed" % (len(files), MOST_FILES))
    listed: List[Entry] = []
    for file in files:
        if not isinstance(file, dict) or set(file) != KEYS:
            raise _refused("the keys of a file are not %s" % ", ".join(sorted(KEYS)))
        if type(file["size"]) is not int or not 0 <= file["size"] <= MOST_BYTES:
            raise _refused("%.80r is not a valid size" % (file["size"],))
        listed.append(Entry(valid_path(file["path"]), valid_digest(file["sha256"]), file["size"]))
    _refuse_collisions([entry.path for entry in listed])
    return listed


def valid_digest(text: Any) -> str:
    """Return ``text`` if it is a SHA-256 digest in lower-case hexadecimal, else raise ``Failure``."""
    if not isinstance(text, str) or not DIGEST.fullmatch(text):
        raise _refused("%.80r is not a SHA-256 digest" % (text,))
    return text


def valid_path(path: Any) -> str:
    """Return ``path`` if it is a relative path of plain names with at most 4 parts, else raise ``Failure``."""
    parts = path.split("/") if isinstance(path, str) else []
    if not 0 < len(parts) <= DEEPEST or not all(PART.fullmatch(part) for part in parts):
        raise _refused("%.80r is not a valid path in a release" % (path,))
    return str(path)


def _refuse_collisions(paths: List[str]) -> None:
    """Raise ``Failure`` if two files, two folders, or a file and a folder have the same path, ignoring case.

    The manifest counts as a file.
    """
    files: Set[str] = {NAME}
    for path in paths:
        if path.lower() in files:
            raise _refused("%.80r is listed twice, or is the manifest itself" % path)
        files.add(path.lower())
    folders = _folders(paths)
    lower_folders = {folder.lower() for folder in folders}
    both = sorted(files & lower_folders)
    if both:
        raise _refused("%.80r is both a file and a folder" % both[0])
    if len(lower_folders) != len(folders):
        alike = sorted(folders, key=lambda folder: (folder.lower(), folder))
        first, second = next(two for two in zip(alike, alike[1:]) if two[0].lower() == two[1].lower())
        raise _refused("the folders %.80r and %.80r differ only by upper and lower case" % (first, second))


def _folders(paths: List[str]) -> Set[str]:
    return {"/".join(path.split("/")[:end]) for path in paths for end in range(1, len(path.split("/")))}


def _unique(pairs: List[Tuple[str, Any]]) -> Dict[str, Any]:
    table = dict(pairs)
    if len(table) != len(pairs):
        raise ValueError("a key occurs twice in one object")
    return table


ADVICE = "deploy again; if this repeats, the release is changed on its way to the robot"


def _refused(what: str) -> Failure:
    return Failure(RELEASE, "the manifest is invalid: " + what, ADVICE)
