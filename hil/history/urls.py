"""Where a history is: ``sqlite:///FILE`` or ``postgresql+psycopg://…``, and how to name it without its password."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from hil.errors import UserError

if TYPE_CHECKING:
    from sqlalchemy.engine import URL

OFF = "none"
EXAMPLES = "write sqlite:///.hil/history.db, postgresql+psycopg://USER@HOST/DATABASE or none"
POSTGRESQL = "postgresql+psycopg"
SQLITE = ("sqlite", "sqlite+pysqlite")
# Greedy up to the last @: a password that should have been percent-encoded is hidden too.
_SECRETS = ((re.compile(r"(\w://[^:@/\s]*):\S*@"), r"\1:***@"), (re.compile(r"(password=)[^&\s]*"), r"\1***"))


def masked(text: str) -> str:
    """``text`` with the password of each URL in it hidden; for messages, and for what a report tells of a command."""
    for pattern, instead in _SECRETS:
        text = pattern.sub(instead, text)
    return text


@dataclass(frozen=True)
class Place:
    """Where a history is. ``file`` is that of SQLite, else ``None``; ``name`` is fit to be shown."""

    name: str
    file: Path | None
    url: URL
    secret: str = ""

    def hide(self, text: str) -> str:
        """``text``, a driver's words, without the password."""
        return masked(text.replace(self.secret, "***") if self.secret else text)


def place_of(url: str, base: Path) -> Place:
    """What ``url`` names; a relative SQLite file is below ``base``. Raises ``UserError`` for what names no history."""
    from sqlalchemy.engine import make_url  # noqa: PLC0415 - heavy; only who uses a history pays for it
    from sqlalchemy.exc import ArgumentError  # noqa: PLC0415 - as above

    shown = masked(url)
    try:
        found = make_url(url)
    except (ArgumentError, ValueError):
        raise UserError(f"{shown!r} is no URL of a history: {EXAMPLES}") from None
    if found.drivername in SQLITE:
        if not found.database or found.database == ":memory:" or found.host or found.query:
            raise UserError(f"{shown!r} names no file to keep a history in: {EXAMPLES}")
        file = base / Path(found.database).expanduser()
        return Place(f"history {file}", file, found)
    if found.drivername.split("+")[0] not in ("postgresql", "postgres"):
        raise UserError(f"{shown!r}: a history is kept in SQLite or PostgreSQL: {EXAMPLES}")
    if found.drivername not in ("postgresql", "postgres", POSTGRESQL):
        raise UserError(f"{shown!r}: PostgreSQL is reached through psycopg here: {EXAMPLES}")
    return Place(f"history {shown}", None, found.set(drivername=POSTGRESQL), str(found.password or ""))
