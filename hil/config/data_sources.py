"""Determine the kind of a data source: ``.npz`` file, Polygraphy's JSON, folder, callable or ``synthetic``."""

from __future__ import annotations

import os
import re
from enum import Enum
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pathlib import Path

SYNTHETIC = "synthetic"
CALLABLE = re.compile(r"[A-Za-z_]\w*(\.[A-Za-z_]\w*)*:[A-Za-z_]\w*(\.[A-Za-z_]\w*)*", re.ASCII)


class SourceKind(Enum):
    """The kinds of sources of samples."""

    SYNTHETIC = "synthetic"
    NPZ = "npz"
    POLYGRAPHY = "polygraphy"
    FOLDER = "folder"
    CALLABLE = "callable"


def source_kind(source: str, root: Path) -> SourceKind | None:
    """Return the kind of ``source``; paths are relative to ``root``.

    Return ``None`` for a file or folder that does not exist, and for text of any other form.
    """
    if source == SYNTHETIC:
        return SourceKind.SYNTHETIC
    path = os.path.join(root, source)  # noqa: PTH118 - os.path accepts any text and never raises
    if os.path.isdir(path):  # noqa: PTH112 - as above
        return SourceKind.FOLDER
    if source.endswith(".npz"):
        return SourceKind.NPZ if os.path.isfile(path) else None  # noqa: PTH113 - as above
    if source.endswith(".json"):
        return SourceKind.POLYGRAPHY if os.path.isfile(path) else None  # noqa: PTH113 - as above
    return SourceKind.CALLABLE if is_callable(source) else None


def is_callable(text: str) -> bool:
    """Return whether ``text`` has the form ``package.module:callable``; nothing is imported."""
    return CALLABLE.fullmatch(text) is not None
