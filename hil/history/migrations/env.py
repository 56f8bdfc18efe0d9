"""The script that alembic runs: applies the missing migrations, in the transaction of the given connection."""

from __future__ import annotations

from alembic import context

VERSION_TABLE = "hil_schema"

# SQLite's schema changes are transactional, but alembic assumes that they are not.
context.configure(
    connection=context.config.attributes["connection"], version_table=VERSION_TABLE, transactional_ddl=True
)
with context.begin_transaction():
    context.run_migrations()
