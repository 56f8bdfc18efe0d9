"""Create triggers by which the database refuses every change and deletion of rows."""

from __future__ import annotations

from alembic import op

FUNCTION = """
CREATE FUNCTION hil_append_only() RETURNS trigger LANGUAGE plpgsql AS
$$ BEGIN RAISE EXCEPTION 'the history is append-only'; END $$
"""


def prepare() -> None:
    """Create the function that the triggers call, on PostgreSQL. SQLite does not need one."""
    if op.get_bind().dialect.name == "postgresql":
        op.execute(FUNCTION)


def guard(*tables: str) -> None:
    """Create triggers on these tables that refuse UPDATE, DELETE and, on PostgreSQL, TRUNCATE."""
    postgresql = op.get_bind().dialect.name == "postgresql"
    for table in tables:
        if postgresql:
            op.execute(
                f"CREATE TRIGGER {table}_append_only BEFORE UPDATE OR DELETE OR TRUNCATE ON {table} "
                "FOR EACH STATEMENT EXECUTE FUNCTION hil_append_only()"
            )
            continue
        for act in ("UPDATE", "DELETE"):
            op.execute(
                f"CREATE TRIGGER {table}_no_{act.lower()} BEFORE {act} ON {table} "
                "BEGIN SELECT RAISE(ABORT, 'the history is append-only'); END"
            )
