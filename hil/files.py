"""Files by their content."""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING

from hil.errors import UserError

if TYPE_CHECKING:
    from pathlib import Path

CHUNK = 1 << 20


def file_digest(path: Path) -> str:
    """SHA-256 of a file, read in pieces. Raises ``UserError`` if it cannot be read."""
    state = hashlib.sha256()
    try:
        with path.open("rb") as stream:
            while chunk := stream.read(CHUNK):
                state.update(chunk)
    except OSError as error:
        raise UserError(f"cannot read {path} ({error.strerror}): check its path in hil.toml") from None
    return state.hexdigest()
