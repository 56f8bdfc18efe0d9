"""The alembic migrations that create a history's tables; ``hil.history.table_version`` runs them."""
