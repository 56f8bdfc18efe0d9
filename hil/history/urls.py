"""Parse URLs of histories (``sqlite:///FILE``, ``postgresql+psycopg://…``), and show them without a password."""

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
"""The least length of a secret that is searched in a text. A shorter one would match parts of many words."""
UNREADABLE = "the history's URL cannot be parsed (it is not shown, because it may contain a password)"
EXAMPLES = "write sqlite:///.hil/history.db, postgresql+psycopg://USER@HOST/DATABASE or none"
POSTGRESQL = "postgresql+psycopg"
SQLITE = ("sqlite", "sqlite+pysqlite")
_PARTS = re.compile(
    r"\s*(?P<driver>\w+(?:\+\w+)?)://(?:[^/?#]*@)?(?P<host>\[[\da-fA-F:.]+\]|[\w.-]*)(?::\d+)?"
    r"(?:/(?P<database>[\w./~ -]*))?(?:\?.*)?",
    re.DOTALL,
)
"""The form of a URL that can be shown. It is stricter than any driver: a URL with a password that is not
percent-encoded does not match."""
_SECRET = re.compile(r"(?i)\b(\w*(?:password|passwd|pwd|passphrase|secret|token)\s*=).*", re.DOTALL)
_KEY = "PRIVATE KEY"  # part of every PEM text of a private key
NOT_SHOWN = "***"


def shown_url(url: str) -> str:
    """Return the URL with only driver, host and database; ``***`` if these cannot be distinguished from a password."""
    parts = _PARTS.fullmatch(url)
    if parts is None:
        return NOT_SHOWN
    database = "" if parts["database"] is None else f"/{parts['database']}"
    return f"{parts['driver']}://{parts['host']}{database}"


def shown_arguments(arguments: Iterable[str]) -> tuple[str, ...]:
    """Return a command's arguments, with URLs shown by ``shown_url``, and ``***`` for passwords, tokens and keys."""
    shown: list[str] = []
    previous = ""
    for argument in arguments:
        option, equals, value = argument.partition("=") if argument.startswith("-") else ("", "", argument)
        if OPTION in (option, previous):
            value = value if value.strip().lower() == OFF else shown_url(value)
        elif "://" in value:
            value = shown_url(value)
        shown.append(NOT_SHOWN if _KEY in argument else _SECRET.sub(rf"\1{NOT_SHOWN}", f"{option}{equals}{value}"))
        previous = argument
    return tuple(shown)


@dataclass(frozen=True)
class Place:
    """The place of a history. ``name`` contains no secret.

    ``file`` is the SQLite file (``None`` for PostgreSQL), ``secrets`` the parts of the URL that must not be shown.
    """

    name: str
    file: Path | None = field(repr=False)
    url: URL = field(repr=False)
    secrets: tuple[str, ...] = field(default=(), repr=False)

    def hide(self, text: str) -> str:
        """Return ``text``, a driver's message, with each of ``secrets`` replaced by ``***``.

        Return an empty text if a secret is too short, or the URL too ambiguous, to find all secrets reliably.
        """
        if NOT_SHOWN in self.name or any(len(secret) < SHORTEST for secret in self.secrets):
            return ""
        for secret in sorted(self.secrets, key=len, reverse=True):
            text = text.replace(secret, NOT_SHOWN)
        return text


def place_of(url: str, base: Path) -> Place:
    """Return the place that ``url`` names; a relative SQLite file is below ``base``.

    Raises ``UserError`` for a URL that cannot be parsed, has an unsupported driver, or names no SQLite file.
    """
    from sqlalchemy.engine import make_url
    from sqlalchemy.exc import ArgumentError

    shown = shown_url(url)
    try:
        parsed = make_url(url)
    except (ArgumentError, ValueError, TypeError):
        raise UserError(f"{UNREADABLE}: {EXAMPLES}") from None
    if parsed.drivername in SQLITE:
        if not parsed.database or parsed.database == ":memory:" or parsed.host or parsed.query:
            raise UserError(f"{shown!r} names no file for a history: {EXAMPLES}")
        file = base / Path(parsed.database).expanduser()
        return Place(f"history {NOT_SHOWN if shown == NOT_SHOWN and '@' in url else file}", file, parsed)
    if parsed.drivername.split("+")[0] not in ("postgresql", "postgres"):
        raise UserError(f"{shown!r}: only SQLite and PostgreSQL are supported: {EXAMPLES}")
    if parsed.drivername not in ("postgresql", "postgres", POSTGRESQL):
        raise UserError(f"{shown!r}: the only supported PostgreSQL driver is psycopg: {EXAMPLES}")
    return Place(f"history {shown}", None, parsed.set(drivername=POSTGRESQL), _secrets(url, parsed))


def _secrets(url: str, parsed: URL) -> tuple[str, ...]:
    """Return the URL's password and the values in its query, in the encodings that a driver's message may use."""
    values: list[Any] = [parsed.password, *parsed.query.values()]
    flat = [str(item) for value in values if value for item in (value if isinstance(value, tuple) else (value,))]
    written = [url.partition("://")[2].rpartition("@")[0].partition(":")[2], *url.partition("?")[2].split("&")]
    flat += [part.partition("=")[2] or part for part in written]
    encodings = (str, quote, quote_plus, ascii, _libpq_escaped)
    encoded = {encode(text) for text in flat for encode in encodings}
    return tuple(sorted({variant for text in encoded for variant in (text, " ".join(text.split())) if variant}))


def _libpq_escaped(text: str) -> str:
    """Return ``text`` as libpq escapes a value in a connection string."""
    return text.replace("\\", "\\\\").replace("'", "\\'")
