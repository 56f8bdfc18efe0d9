"""Keep a history: a database of reports, for comparisons.

SQLAlchemy and the database drivers are imported only when a history is opened.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from hil.history.entries import Acceptance, Baseline, By, NoHistory, Noise, Point, RunRecord

if TYPE_CHECKING:
    from pathlib import Path

    from hil.history.store import History  # noqa: TC004 - a name for type checkers; importing it brings SQLAlchemy

__all__ = ["Acceptance", "Baseline", "By", "History", "NoHistory", "Noise", "Point", "RunRecord", "open_history"]


def open_history(url: str, *, read_only: bool = False, base: Path) -> History:
    """Open the history at ``url``; a relative SQLite file is below ``base`` (the folder of ``hil.toml``).

    With ``read_only`` no database is created or changed; otherwise a database is created, or its schema migrated, if
    needed.

    Raises:
        UserError: the URL, file or schema cannot be used.
        NoHistory: there is no database to read.
        LabError: the database fails or cannot be reached.
    """
    from hil.history.store import History as Opened

    return Opened(url, read_only=read_only, base=base)
