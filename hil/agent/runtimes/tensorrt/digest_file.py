"""Small files that are kept between builds, under a digest: one that was damaged or cut off is not read."""

import contextlib
import hashlib
import os
from typing import Any, Optional

LIMIT = 256 << 20  # bytes
DIGEST = 32


def read(path: Optional[str]) -> Optional[bytes]:
    """What ``write`` left there; None where there is no such file. Raises ``ValueError`` for a damaged one."""
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
    """Replaces the file, whole or not at all; whether it did. A full disk costs the next build time, no more."""
    if path is None or len(content) > LIMIT:
        return False
    beside = "%s.%d.new" % (path, os.getpid())
    data = bytes(content)
    try:
        with open(beside, "wb") as file:
            file.write(hashlib.sha256(data).digest() + data)
        os.replace(beside, path)
    except OSError:
        discard(beside)
        return False
    return True


def discard(path: str) -> None:
    """Removes a file that may be gone already."""
    with contextlib.suppress(OSError):
        os.unlink(path)
