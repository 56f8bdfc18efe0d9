"""Convert each error of a database to a ``UserError`` or ``LabError`` whose message states what to do next."""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING

from sqlalchemy import exc

from hil.errors import HilError, LabError, UserError

if TYPE_CHECKING:
    from collections.abc import Iterator

    from hil.history.urls import Place

MOVE = "move the file away (a new one is created) or restore a backup"
ANOTHER = "or name another history with --hil-history=URL or history in [project] of hil.toml"
MESSAGES: tuple[tuple[tuple[str, ...], type[HilError], str, str], ...] = (
    # SQLite. Each entry: parts of the driver's message, class of the error, our message, what to do.
    (("not a database", "malformed", "file is encrypted"), LabError, "it is damaged or not a SQLite database", MOVE),
    (("readonly database", "read-only"), UserError, "it is read-only", f"give this user write permission {ANOTHER}"),
    (("unable to open",), UserError, "it cannot be opened", f"make file and folder writable {ANOTHER}"),
    (("is full", "no space left"), LabError, "the disk is full", f"free some space {ANOTHER}"),
    (("disk i/o",), LabError, "the disk failed", f"check the disk {ANOTHER}"),
    (("is locked",), LabError, "another process keeps it locked", "end that process and run again"),
    # PostgreSQL
    (
        ("authentication failed", "no password supplied", "no pg_hba.conf"),
        UserError,
        "the server refuses this user and password",
        "correct them in the URL, PGPASSWORD or ~/.pgpass",
    ),
    (("does not exist",), UserError, "it does not exist", "create it with createdb or createuser, or correct the URL"),
    (
        ("permission denied",),
        UserError,
        "this user lacks a permission",
        "grant CREATE on the schema, or name another user",
    ),
    (
        ("could not translate", "failed to resolve", "connection refused", "timeout", "no route", "no such file"),
        LabError,
        "the server cannot be reached",
        f"start the server {ANOTHER}",
    ),
)


@contextlib.contextmanager
def database_errors(place: Place) -> Iterator[None]:
    """Convert an error of the database, its driver or the file system within the ``with`` block to a ``HilError``.

    The message names ``place`` and contains no password. A ``ValueError`` or ``TypeError`` is converted only for
    PostgreSQL, whose driver raises it for a malformed URL.
    """
    try:
        yield
    except HilError:
        raise
    except exc.SQLAlchemyError as error:
        raise _hil_error(place, str(getattr(error, "orig", None) or error)) from None
    except (ValueError, TypeError) as error:
        if place.file is not None:
            raise
        what = f"the driver refuses its URL ({place.hide(str(error)) or type(error).__name__})"
        raise UserError(f"{place.name}: {what}: correct the part after the host") from None
    except OSError as error:
        raise _hil_error(place, f"unable to open: {error.strerror or error}") from None


def _hil_error(place: Place, message: str) -> HilError:
    shown = " ".join(place.hide(message).split())[:300]
    plain = " ".join(message.split()).lower()
    because = f" ({shown})" if shown else ""
    for parts, kind, what, advice in MESSAGES:
        if any(part in plain for part in parts):
            return kind(f"{place.name}: {what}{because}: {advice}")
    return LabError(f"{place.name}: the database failed{because}: check it {ANOTHER}")
