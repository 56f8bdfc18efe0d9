"""Where a history is: ``sqlite:///FILE`` or ``postgresql+psycopg://…``, and how to name it without its password."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import quote, quote_plus

from hil.errors import UserError

if TYPE_CHECKING:
    from collections.abc import Iterable

    from sqlalchemy.engine import URL

OFF = "none"
OPTION = "--hil-history"
SHORTEST = 3
"""Characters of a secret that can be looked for in a text: a shorter one is in every word."""
UNREADABLE = "the history is named by no URL (it is not shown, since a password may be in it)"
EXAMPLES = "write sqlite:///.hil/history.db, postgresql+psycopg://USER@HOST/DATABASE or none"
POSTGRESQL = "postgresql+psycopg"
SQLITE = ("sqlite", "sqlite+pysqlite")
_PARTS = re.compile(
    r"\s*(?P<driver>\w+(?:\+\w+)?)://(?:[^/?#]*@)?(?P<host>\[[\da-fA-F:.]+\]|[\w.-]*)(?::\d+)?"
    r"(?:/(?P<database>[\w./~ -]*))?(?:\?.*)?",
    re.DOTALL,
)
"""Stricter than any driver: a password that should have been percent-encoded makes it match nothing."""
_SECRET = re.compile(r"(?i)\b(\w*(?:password|passwd|pwd|passphrase|secret|token)\s*=).*", re.DOTALL)
_KEY = "PRIVATE KEY"  # what the PEM text of one has in it
NOT_SHOWN = "***"


def shown_url(url: str) -> str:
    """Driver, host and database of ``url``; ``***`` where these cannot be told from a password."""
    parts = _PARTS.fullmatch(url)
    if parts is None:
        return NOT_SHOWN
    database = "" if parts["database"] is None else f"/{parts['database']}"
    return f"{parts['driver']}://{parts['host']}{database}"


def shown_arguments(arguments: Iterable[str]) -> tuple[str, ...]:
    """A command's arguments without passwords and keys: a URL as ``shown_url``, nothing that may be a secret."""
    shown: list[str] = []
    before = ""
    for argument in arguments:
        option, equals, value = argument.partition("=") if argument.startswith("-") else ("", "", argument)
        if OPTION in (option, before):
            value = value if value.strip().lower() == OFF else shown_url(value)
        elif "://" in value:
            value = shown_url(value)
        shown.append(NOT_SHOWN if _KEY in argument else _SECRET.sub(rf"\1{NOT_SHOWN}", f"{option}{equals}{value}"))
        before = argument
    return tuple(shown)


@dataclass(frozen=True)
class Place:
    """Where a history is. ``file`` is that of SQLite, else ``None``; ``name`` is fit to be shown.

    ``secrets`` are what the URL has beside driver, host and database.
    """

    name: str
    file: Path | None = field(repr=False)
    url: URL = field(repr=False)
    secrets: tuple[str, ...] = field(default=(), repr=False)

    def hide(self, text: str) -> str:
        """``text``, a driver's words, without any secret; empty where that cannot be made sure of."""
        if NOT_SHOWN in self.name or any(len(secret) < SHORTEST for secret in self.secrets):
            return ""
        for secret in sorted(self.secrets, key=len, reverse=True):
            text = text.replace(secret, NOT_SHOWN)
        return text


def place_of(url: str, base: Path) -> Place:
    """What ``url`` names; a relative SQLite file is below ``base``. Raises ``UserError`` for what names no history."""
    from sqlalchemy.engine import make_url
    from sqlalchemy.exc import ArgumentError

    shown = shown_url(url)
    try:
        found = make_url(url)
    except (ArgumentError, ValueError, TypeError):
        raise UserError(f"{UNREADABLE}: {EXAMPLES}") from None
    if found.drivername in SQLITE:
        if not found.database or found.database == ":memory:" or found.host or found.query:
            raise UserError(f"{shown!r} names no file to keep a history in: {EXAMPLES}")
        file = base / Path(found.database).expanduser()
        return Place(f"history {NOT_SHOWN if shown == NOT_SHOWN and '@' in url else file}", file, found)
    if found.drivername.split("+")[0] not in ("postgresql", "postgres"):
        raise UserError(f"{shown!r}: a history is kept in SQLite or PostgreSQL: {EXAMPLES}")
    if found.drivername not in ("postgresql", "postgres", POSTGRESQL):
        raise UserError(f"{shown!r}: PostgreSQL is reached through psycopg here: {EXAMPLES}")
    return Place(f"history {shown}", None, found.set(drivername=POSTGRESQL), _secrets(url, found))


def _secrets(url: str, found: URL) -> tuple[str, ...]:
    """The password and the values of the query, in every way that a driver may repeat them."""
    values: list[Any] = [found.password, *found.query.values()]
    flat = [str(one) for value in values if value for one in (value if isinstance(value, tuple) else (value,))]
    written = [url.partition("://")[2].rpartition("@")[0].partition(":")[2], *url.partition("?")[2].split("&")]
    flat += [part.partition("=")[2] or part for part in written]
    ways = {way(one) for one in flat for way in (str, quote, quote_plus, ascii, _escaped)}
    return tuple(sorted({way for one in ways for way in (one, " ".join(one.split())) if way}))


def _escaped(text: str) -> str:
    """As libpq writes a value into a connection string."""
    return text.replace("\\", "\\\\").replace("'", "\\'")
