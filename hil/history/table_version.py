"""The version of a history's tables: which one is there, and the steps to the newest."""

from __future__ import annotations

from typing import TYPE_CHECKING

import sqlalchemy as sa

from hil.errors import UserError
from hil.history.connect import WRITES
from hil.history.tables import METADATA

if TYPE_CHECKING:
    from hil.history.urls import Place

NEWEST = 1
MIGRATIONS = "hil.history:migrations"  # as alembic spells a package's folder
VERSION_TABLE = "hil_schema"
LOCK = 0x68_69_6C_00
"""The advisory lock that migrations of one PostgreSQL database take turns by: "hil" and a number."""


def version_of(connection: sa.Connection, place: Place) -> int:
    """The version of the schema that is there; 0 where there is nothing yet.

    Raises ``UserError`` for a newer one and for a database that is somebody else's.
    """
    tables = set(sa.inspect(connection).get_table_names())
    if VERSION_TABLE in tables:
        found = connection.execute(sa.text(f"SELECT version_num FROM {VERSION_TABLE}")).scalars().all()  # noqa: S608 - a constant
        if len(found) == 1 and found[0].isdecimal() and int(found[0]) <= NEWEST:
            return int(found[0])
        what = f"it is of schema {', '.join(found) or 'none'}, this hil knows {NEWEST}"
        raise UserError(f"{place.name}: {what}: pip install -U pytest-hil, or name another history")
    # Two programs may share a PostgreSQL database; a file of SQLite is one program's.
    taken = tables if place.file is not None else tables & set(METADATA.tables)
    if taken:
        what = f"holds tables of another program ({', '.join(sorted(taken)[:3])})"
        raise UserError(f"{place.name}: {what}: name another file or database")
    return 0


def migrate(engine: sa.Engine, place: Place) -> None:
    """Brings the schema to the newest version, in one transaction; who comes meanwhile waits and finds it done."""
    with engine.connect() as connection, connection.begin():
        if version_of(connection, place) == NEWEST:
            return
    with engine.connect().execution_options(**{WRITES: True}) as connection, connection.begin():
        if connection.dialect.name == "postgresql":
            connection.execute(sa.text("SELECT pg_advisory_xact_lock(:key)"), {"key": LOCK})
        if version_of(connection, place) < NEWEST:
            steps(connection, NEWEST)


def steps(connection: sa.Connection, version: int) -> None:
    """Takes the steps that are missing up to ``version``, in the transaction of ``connection``."""
    from alembic import command
    from alembic.config import Config

    config = Config(attributes={"connection": connection})
    config.set_main_option("script_location", MIGRATIONS)
    command.upgrade(config, str(version))
