"""Small files kept between builds, stored with a digest, so that a damaged file is not used."""

import contextlib
import hashlib
import os
from typing import Any, Optional

LIMIT = 256 << 20  # bytes
DIGEST = 32


def read(path: Optional[str]) -> Optional[bytes]:
    """Return what ``write`` stored; None if ``path`` is None or unreadable. Raise ``ValueError`` for a damaged file."""
    if path is None:
        return None
    try:
        with open(path, "rb") as file:
            data = file.read(LIMIT + DIGEST + 1)
    except OSError:
        return None
    content = data[DIGEST:]
    if len(content) > LIMIT or hashlib.sha256(content).digest() != data[:DIGEST]:
        raise ValueError("damaged")
    return content


def write(path: Optional[str], content: Any) -> bool:
    """Replace the file at ``path`` atomically, and return whether this worked.

    Return False if ``path`` is None, if ``content`` has more than ``LIMIT`` bytes, or if the file cannot be written.
    """
    if path is None or len(content) > LIMIT:
        return False
    temporary = "%s.%d.new" % (path, os.getpid())
    data = bytes(content)
    try:
        with open(temporary, "wb") as file:
            file.write(hashlib.sha256(data).digest() + data)
        os.replace(temporary, path)
    except OSError:
        discard(temporary)
        return False
    return True


def discard(path: str) -> None:
    """Remove a file if it exists."""
    with contextlib.suppress(OSError):
        os.unlink(path)
