"""What alembic runs: the steps that are missing, on the connection and in the transaction that it was given."""

from __future__ import annotations

from alembic import context

VERSION_TABLE = "hil_schema"

# SQLite's changes of a schema are part of a transaction too, which alembic does not take for granted.
context.configure(
    connection=context.config.attributes["connection"], version_table=VERSION_TABLE, transactional_ddl=True
)
with context.begin_transaction():
    context.run_migrations()
