"""Determine the version of a history's tables, and migrate them to the newest version."""

from __future__ import annotations

from typing import TYPE_CHECKING

import sqlalchemy as sa

from hil.errors import UserError
from hil.history.connect import WRITES
from hil.history.tables import METADATA

if TYPE_CHECKING:
    from hil.history.urls import Place

NEWEST = 3
MIGRATIONS = "hil.history:migrations"  # alembic's notation for a folder of a package
VERSION_TABLE = "hil_schema"
LOCK = 0x68_69_6C_00
"""The key of the advisory lock that serializes migrations of one PostgreSQL database: "hil" in ASCII, and 0."""


def version_of(connection: sa.Connection, place: Place) -> int:
    """Return the version of the database's schema; 0 for an empty database.

    Raises ``UserError`` for an unknown version and for a database with tables of another program.
    """
    tables = set(sa.inspect(connection).get_table_names())
    if VERSION_TABLE in tables:
        versions = connection.execute(sa.text(f"SELECT version_num FROM {VERSION_TABLE}")).scalars().all()  # noqa: S608 - a constant
        if len(versions) == 1 and versions[0].isdecimal() and int(versions[0]) <= NEWEST:
            return int(versions[0])
        what = f"it has schema version {', '.join(versions) or 'none'}, this hil supports {NEWEST}"
        raise UserError(f"{place.name}: {what}: install a newer pytest-hil, or name another history")
    # A PostgreSQL database may be shared with another program, a SQLite file may not.
    foreign = tables if place.file is not None else tables & set(METADATA.tables)
    if foreign:
        what = f"it has tables of another program ({', '.join(sorted(foreign)[:3])})"
        raise UserError(f"{place.name}: {what}: name another file or database")
    return 0


def migrate(engine: sa.Engine, place: Place) -> None:
    """Migrate the schema to the newest version in one transaction. Concurrent callers wait until it is done."""
    with engine.connect() as connection, connection.begin():
        if version_of(connection, place) == NEWEST:
            return
    with engine.connect().execution_options(**{WRITES: True}) as connection, connection.begin():
        if connection.dialect.name == "postgresql":
            connection.execute(sa.text("SELECT pg_advisory_xact_lock(:key)"), {"key": LOCK})
        if version_of(connection, place) < NEWEST:
            run_migrations(connection, NEWEST)


def run_migrations(connection: sa.Connection, version: int) -> None:
    """Run the missing migrations up to ``version`` in the transaction of ``connection``."""
    from alembic import command
    from alembic.config import Config

    config = Config(attributes={"connection": connection})
    config.set_main_option("script_location", MIGRATIONS)
    command.upgrade(config, str(version))
