"""Version 2: the control that was timed beside a measurement."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "2"
down_revision = "1"


def upgrade() -> None:
    """Add the column ``control`` (JSON of ``hil.results.ControlSummary``); NULL for a measurement without one."""
    op.add_column("measurements", sa.Column("control", sa.Text))
