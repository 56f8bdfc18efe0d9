"""Open a history's database. Opening it for reading neither creates nor changes a database.

While SQLite reads, it may create its ``-wal`` and ``-shm`` files beside the database.
"""

from __future__ import annotations

import sqlite3
import time
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

import sqlalchemy as sa

from hil.errors import UserError
from hil.history.entries import NoHistory

if TYPE_CHECKING:
    from pathlib import Path

    from hil.history.urls import Place

PATIENCE = 30.0
"""How long a connection waits for another connection's lock, in seconds. Writing a run takes milliseconds."""
CONNECT = 10
"""Seconds after which an attempt to connect to PostgreSQL is given up, unless the URL sets ``connect_timeout``."""
WRITES = "hil_writes"
"""The execution option that marks a connection as a writer's."""
NO_HISTORY = "it does not exist yet: run pytest --target=NAME, or hil history import report/report.json"


def engine_for(place: Place, *, read_only: bool) -> sa.Engine:
    """Return SQLAlchemy's engine for the database at ``place``. It closes each connection after use.

    Raises ``NoHistory`` if ``read_only`` is true and the SQLite file is missing or empty, and ``UserError`` if the
    place is a folder or the PostgreSQL driver cannot be imported.
    """
    if place.file is None:
        return _postgresql(place, read_only=read_only)
    return _sqlite(place, place.file, read_only=read_only)


def _sqlite(place: Place, file: Path, *, read_only: bool) -> sa.Engine:
    if file.is_dir():
        raise UserError(f"{place.name}: it is a folder: name a file in it, e.g. sqlite:///{file.name}/history.db")
    if read_only and (not file.exists() or not file.stat().st_size):
        raise NoHistory(f"{place.name}: {NO_HISTORY}")
    if not read_only:
        file.parent.mkdir(parents=True, exist_ok=True)

    def connect() -> sqlite3.Connection:
        return _reader(file) if read_only else _writer(file)

    engine = sa.create_engine("sqlite://", creator=connect, poolclass=sa.NullPool)
    sa.event.listen(engine, "begin", _begin)
    return engine


def _begin(connection: sa.Connection) -> None:
    # IMMEDIATE: a writer gets the lock when its transaction begins, so it cannot fail later because of another writer.
    writes = connection.get_execution_options().get(WRITES)
    connection.exec_driver_sql("BEGIN IMMEDIATE" if writes else "BEGIN")


def _writer(file: Path) -> sqlite3.Connection:
    connection = sqlite3.connect(file, timeout=PATIENCE, isolation_level=None)
    try:
        _journal(connection)
        # FULL: a stored run survives a power failure. This costs one fsync per run.
        for pragma in ("synchronous = FULL", "foreign_keys = ON"):
            connection.execute(f"PRAGMA {pragma}")
    except BaseException:
        connection.close()
        raise
    return connection


def _journal(connection: sqlite3.Connection) -> None:
    """Switch to a write-ahead log, so that readers and a writer do not block each other.

    Wait for at most ``PATIENCE`` seconds if the database is locked, then raise ``sqlite3.OperationalError``.
    """
    until = time.monotonic() + PATIENCE
    while not _is_wal_enabled(connection):
        # SQLite's own timeout does not apply to this statement.
        if time.monotonic() > until:
            raise sqlite3.OperationalError("database is locked")
        time.sleep(0.02)


def _is_wal_enabled(connection: sqlite3.Connection) -> bool:
    """Enable the write-ahead log and return ``True``; return ``False`` if the database is locked."""
    try:
        if connection.execute("PRAGMA journal_mode").fetchone() != ("wal",):
            connection.execute("PRAGMA journal_mode = WAL")
    except sqlite3.OperationalError as error:
        if "locked" not in str(error):
            raise
        return False
    return True


def _reader(file: Path) -> sqlite3.Connection:
    uri = f"file:{quote(str(file))}?mode=ro"
    connection = sqlite3.connect(uri, uri=True, timeout=PATIENCE, isolation_level=None)
    try:
        connection.execute("SELECT 1 FROM sqlite_master LIMIT 1")
    except sqlite3.OperationalError:
        connection.close()
        log = file.with_name(f"{file.name}-wal")
        if log.exists() and log.stat().st_size:
            raise
        # In a read-only folder SQLite cannot create the log's index. Nobody can write there, so immutable is safe.
        connection = sqlite3.connect(f"{uri}&immutable=1", uri=True, isolation_level=None)
    except BaseException:
        connection.close()
        raise
    return connection


def _postgresql(place: Place, *, read_only: bool) -> sa.Engine:
    arguments: dict[str, Any] = {"application_name": "pytest-hil"}
    if "connect_timeout" not in place.url.query:
        arguments["connect_timeout"] = CONNECT
    try:
        engine = sa.create_engine(place.url, poolclass=sa.NullPool, connect_args=arguments)
    except ModuleNotFoundError as error:
        what = f"PostgreSQL's driver is not installed ({error.name})"
        raise UserError(f"{place.name}: {what}: pip install 'pytest-hil[postgres]'") from None
    except ImportError as error:
        what = f"PostgreSQL's driver does not load ({' '.join(str(error).split())[:200]})"
        raise UserError(f"{place.name}: {what}: pip install 'pytest-hil[postgres]'") from None
    return engine.execution_options(postgresql_readonly=True) if read_only else engine


def is_transient(error: Exception) -> bool:
    """Return whether a retry may succeed: after a lost connection, a serialization failure or a deadlock."""
    lost = isinstance(error, sa.exc.DBAPIError) and error.connection_invalidated
    state = getattr(getattr(error, "orig", None), "sqlstate", None)
    return lost or state in ("40001", "40P01")
