"""Computes digests of files, and turns the errors of writing a folder into messages for the user."""

from __future__ import annotations

import contextlib
import errno
import hashlib
from typing import TYPE_CHECKING

from hil.errors import LabError, UserError

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

CHUNK = 1 << 20
THE_LAB = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EIO, errno.EMFILE, errno.ENFILE})
"""Errors of the machine rather than of the configured path: they raise ``LabError``."""


@contextlib.contextmanager
def writing(folder: Path, hint: str = "name another folder with --hil-report=DIR") -> Iterator[None]:
    """Create ``folder``, and return a context that turns an ``OSError`` while writing there into a ``HilError``.

    The error is a ``LabError`` for an errno in ``THE_LAB``, such as a full disk, otherwise a ``UserError``. Its message
    ends with ``hint``. An ``OSError`` while the folder is created is converted in the same way.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
        yield
    except OSError as error:
        kind = LabError if error.errno in THE_LAB else UserError
        what = f"{folder} cannot be written: {error.strerror or error}"
        raise kind(f"{what}: free some space, or {hint}") from None


def file_digest(path: Path, hint: str = "check its path in hil.toml") -> str:
    """Return the SHA-256 (hex) of a file.

    Raises ``UserError``, whose message ends with ``hint``, if the file cannot be read.
    """
    state = hashlib.sha256()
    try:
        with path.open("rb") as stream:
            while chunk := stream.read(CHUNK):
                state.update(chunk)
    except OSError as error:
        raise UserError(f"cannot read {path} ({error.strerror}): {hint}") from None
    return state.hexdigest()
