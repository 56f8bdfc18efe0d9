"""Find the config of a run. Imports no slow module."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from hil.errors import UserError

if TYPE_CHECKING:
    from pathlib import Path

FILE = "hil.toml"
ROOT = 0
"""The user id of root, who can write every file."""


def find(start: Path, here: Path | None = None) -> Path | None:
    """Return ``hil.toml`` in ``start`` or the nearest folder above it; ``None`` if there is no such file.

    Raise ``UserError`` if the file is outside ``here`` (by default ``start``) and belongs to neither this user nor
    root.
    """
    folder = start.absolute()
    trusted = folder if here is None else here.absolute()
    path = next((place / FILE for place in (folder, *folder.parents) if (place / FILE).is_file()), None)
    if path is None or path.parent == trusted:
        return path
    # For a link, its owner counts too: the owner of the link chose the file.
    foreign = {path.lstat().st_uid, path.stat().st_uid} - {os.geteuid(), ROOT}
    if foreign:
        what = f"{path} belongs to another user (uid {min(foreign)}) and lies outside {trusted}"
        raise UserError(f"{what}: if you trust it, name it: pytest --hil-config={path}, or hil COMMAND --config {path}")
    return path
