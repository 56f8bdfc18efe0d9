"""What a release is made of, as its manifest tells: no path in it leads anywhere but into the release's own folder."""

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
"""One step of a path: it begins with no dot, and has no letter that a shell, a terminal or a file system minds."""
DEEPEST = 4
DIGEST = re.compile(r"[0-9a-f]{64}")
KEYS = frozenset(("path", "sha256", "size"))


class Entry(NamedTuple):
    """One file: ``path`` below the release's folder, SHA-256 and bytes."""

    path: str
    sha256: str
    size: int


def parse(content: bytes) -> Dict[str, Any]:
    """The manifest in these bytes. Raises ``Failure`` for what is none; no key may stand twice."""
    if len(content) > LARGEST:
        raise _refused("it is larger than %d bytes" % LARGEST)
    try:
        found = json.loads(content.decode("utf-8"), object_pairs_hook=_unique)
    except (ValueError, RecursionError) as error:
        raise _refused(str(error) or "it is nested too deeply") from None
    if not isinstance(found, dict) or type(found.get("schema")) is not int or found["schema"] != SCHEMA:
        raise _refused("it is not of schema %d" % SCHEMA)
    if not isinstance(found.get("files"), list):
        raise _refused("it lists no files")
    return found


def entries(manifest: Dict[str, Any]) -> List[Entry]:
    """The files of a parsed manifest. Raises ``Failure`` for a path, digest or size that no release has."""
    listed = manifest["files"]
    if not 0 < len(listed) <= MOST_FILES:
        raise _refused("%d files are listed" % len(listed))
    found: List[Entry] = []
    for one in listed:
        if not isinstance(one, dict) or set(one) != KEYS:
            raise _refused("a file is not described by %s" % ", ".join(sorted(KEYS)))
        if not isinstance(one["sha256"], str) or not DIGEST.fullmatch(one["sha256"]):
            raise _refused("%.80r is no SHA-256 digest" % (one["sha256"],))
        if type(one["size"]) is not int or not 0 <= one["size"] <= MOST_BYTES:
            raise _refused("%.80r is no size" % (one["size"],))
        found.append(Entry(path_of(one["path"]), one["sha256"], one["size"]))
    _apart([entry.path for entry in found])
    return found


def digest_of(text: Any) -> str:
    """``text`` if it is a SHA-256 digest. Raises ``Failure``."""
    if not isinstance(text, str) or not DIGEST.fullmatch(text):
        raise _refused("%.80r is no SHA-256 digest" % (text,))
    return text


def path_of(path: Any) -> str:
    """``path`` if it may lie in a release: relative, of plain names, nowhere else. Raises ``Failure``."""
    parts = path.split("/") if isinstance(path, str) else []
    if not 0 < len(parts) <= DEEPEST or not all(PART.fullmatch(part) for part in parts):
        raise _refused("%.80r is no path within a release" % (path,))
    return str(path)


def _apart(paths: List[str]) -> None:
    """No two are one file, on a file system that does not tell cases apart either, nor one a folder of another."""
    seen: Set[str] = {NAME}
    folders: Set[str] = set()
    for path in paths:
        low = path.lower()
        if low in seen:
            raise _refused("%.80r is listed twice, or is the manifest's own" % path)
        seen.add(low)
        parts = low.split("/")
        folders.update("/".join(parts[:end]) for end in range(1, len(parts)))
    both = sorted(seen & folders)
    if both:
        raise _refused("%.80r is a file and a folder" % both[0])
    if len({folder.lower() for folder in _folders(paths)}) != len(_folders(paths)):
        raise _refused("two folders differ by the case of their letters alone")


def _folders(paths: List[str]) -> Set[str]:
    return {"/".join(path.split("/")[:end]) for path in paths for end in range(1, len(path.split("/")))}


def _unique(pairs: List[Tuple[str, Any]]) -> Dict[str, Any]:
    table = dict(pairs)
    if len(table) != len(pairs):
        raise ValueError("a key stands twice in one object")
    return table


ADVICE = "deploy again; if it stays, the release was changed on its way"


def _refused(what: str) -> Failure:
    return Failure(RELEASE, "the manifest is refused: " + what, ADVICE)
