"""Add one run to the tables, atomically. Adding the same report again changes nothing."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from sqlalchemy.dialects.postgresql import insert as postgresql_insert
from sqlalchemy.dialects.sqlite import insert as sqlite_insert

from hil.errors import UserError
from hil.history.rows import point_row, run_row
from hil.history.tables import FACTS, MEASUREMENTS, RUN_MODELS, RUNS

if TYPE_CHECKING:
    import sqlalchemy as sa

    from hil.history.derive import Derived

CHUNK = 500


def write(connection: sa.Connection, derived: Derived) -> bool:
    """Add a run within the transaction of ``connection``. Return ``False`` if the history already has this report.

    Raises ``UserError`` if the history has another report of the same run.
    """
    run = derived.run
    seq = connection.execute(_insert(connection, RUNS).values(run_row(run)).returning(RUNS.c.seq)).scalar()
    if seq is None:
        return _is_known(connection, derived)
    _facts(connection, derived)
    models = sorted({point.model for point in derived.points})
    if models:
        connection.execute(RUN_MODELS.insert(), [{"model": model, "run": seq} for model in models])
    rows = [point_row(point, seq) for point in derived.points]
    for first in range(0, len(rows), CHUNK):
        connection.execute(MEASUREMENTS.insert(), rows[first : first + CHUNK])
    return True


def _insert(connection: sa.Connection, table: sa.Table) -> Any:
    """Return an INSERT that does nothing if the row exists. The INSERT waits for another writer of the same row."""
    insert = postgresql_insert if connection.dialect.name == "postgresql" else sqlite_insert
    return insert(table).on_conflict_do_nothing()


def _is_known(connection: sa.Connection, derived: Derived) -> bool:
    query = RUNS.select().where(RUNS.c.report_digest == derived.run.report_digest)
    if connection.execute(query).first() is None:
        what = f"the history already has another report of run {derived.run.id}"
        raise UserError(f"{what}: stored reports cannot be replaced: run the checks again for a new one")
    return False


def _facts(connection: sa.Connection, derived: Derived) -> None:
    # Sorted, so that two writers of the same facts cannot deadlock.
    rows = [
        {"digest": digest, "content": json.dumps(facts, sort_keys=True)}
        for digest, facts in sorted(derived.facts.items())
    ]
    if rows:
        connection.execute(_insert(connection, FACTS), rows)
