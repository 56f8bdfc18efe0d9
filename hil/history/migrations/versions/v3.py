"""Version 3: the disturbances that were recorded with a measurement."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "3"
down_revision = "2"


def upgrade() -> None:
    """Add the column ``disturbed`` (a JSON list of texts); NULL for rows that earlier versions stored."""
    op.add_column("measurements", sa.Column("disturbed", sa.Text))
