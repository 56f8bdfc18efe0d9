"""The history: reports kept in a database, to compare with.

The database's libraries are imported when a history is opened, and not before.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from hil.history.entries import Acceptance, Baseline, By, NoHistory, Noise, Point, RunRecord

if TYPE_CHECKING:
    from pathlib import Path

    from hil.history.store import History  # noqa: TC004 - a name for type checkers; importing it brings SQLAlchemy

__all__ = ["Acceptance", "Baseline", "By", "History", "NoHistory", "Noise", "Point", "RunRecord", "open_history"]


def open_history(url: str, *, read_only: bool = False, base: Path) -> History:
    """The history at ``url``, open; a relative SQLite file is below ``base`` (the folder of ``hil.toml``).

    Makes and migrates it, unless it is opened for reading: then nothing is made or changed. Raises ``UserError`` for a
    URL, file or schema that cannot be used (``NoHistory`` where there is none to read) and ``LabError`` for a
    database that fails or cannot be reached.
    """
    from hil.history.store import History as Opened

    return Opened(url, read_only=read_only, base=base)
