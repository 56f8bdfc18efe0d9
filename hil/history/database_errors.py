"""What goes wrong with a database, in one message each: whose fault it is, and what to do next."""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING

from sqlalchemy import exc

from hil.errors import HilError, LabError, UserError

if TYPE_CHECKING:
    from collections.abc import Iterator

    from hil.history.urls import Place

MOVE = "move the file away (a new one is begun) or put a copy back"
ANOTHER = "or name another one: --hil-history=URL, [project] history"
SAID: tuple[tuple[tuple[str, ...], type[HilError], str, str], ...] = (
    # of SQLite: what it says, whose fault, what we say, what to do
    (("not a database", "malformed", "file is encrypted"), LabError, "is damaged or no SQLite database", MOVE),
    (("readonly database", "read-only"), UserError, "may only be read", f"let this user write it {ANOTHER}"),
    (("unable to open",), UserError, "cannot be opened", f"see that file and folder may be written {ANOTHER}"),
    (("is full", "no space left"), LabError, "the disk is full", f"free some space {ANOTHER}"),
    (("disk i/o",), LabError, "the disk failed", f"look at the disk {ANOTHER}"),
    (("is locked",), LabError, "is kept locked by another process", "end that process and run again"),
    # of PostgreSQL
    (
        ("authentication failed", "no password supplied", "no pg_hba.conf"),
        UserError,
        "the server lets nobody in with this user and password",
        "correct them in the URL, PGPASSWORD or ~/.pgpass",
    ),
    (("does not exist",), UserError, "is not there", "create it with createdb or createuser, or correct the URL"),
    (
        ("permission denied",),
        UserError,
        "this user may not",
        "grant CREATE on the schema, or name another user",
    ),
    (
        ("could not translate", "failed to resolve", "connection refused", "timeout", "no route", "no such file"),
        LabError,
        "cannot be reached",
        f"see that the server runs there {ANOTHER}",
    ),
)


@contextlib.contextmanager
def told(place: Place) -> Iterator[None]:
    """Turns whatever the database, its driver or the file system raise into one ``HilError`` with ``place`` in it."""
    try:
        yield
    except HilError:
        raise
    except exc.SQLAlchemyError as error:
        raise _blamed(place, str(getattr(error, "orig", None) or error)) from None
    except (ValueError, TypeError) as error:
        if place.file is not None:
            raise
        what = f"its URL is refused ({place.hide(str(error)) or type(error).__name__})"
        raise UserError(f"{place.name}: {what}: correct what is written behind the host") from None
    except OSError as error:
        raise _blamed(place, f"unable to open: {error.strerror or error}") from None


def _blamed(place: Place, said: str) -> HilError:
    words = " ".join(place.hide(said).split())[:300]
    plain = " ".join(said.split()).lower()
    because = f" ({words})" if words else ""
    for signs, kind, what, advice in SAID:
        if any(sign in plain for sign in signs):
            return kind(f"{place.name}: {what}{because}: {advice}")
    return LabError(f"{place.name}: failed{because}: look at the database {ANOTHER}")
