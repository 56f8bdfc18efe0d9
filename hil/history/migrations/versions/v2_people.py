"""Version 2: what people and calibrations add to the runs: names, acceptances, a board's own noise."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

from hil.history.migrations.append_only import guard

revision = "2"
down_revision = "1"


def upgrade() -> None:
    """Makes the tables and their triggers; what version 1 holds stays as it is."""
    _table("baselines", needed=("name", "runs", "who", "why", "at"))
    row = ("check_id", "model", "precision", "scenario", "target")
    _table("acceptances", needed=("run", *row, "unit", "who", "why", "at"), optional=("serial",), numbers=("value",))
    _table(
        "noise",
        needed=("serial", "target", "check_id", "model", "precision", "at"),
        numbers=("sd", "false_alarm"),
        counts=("comparisons",),
    )
    op.create_index("baselines_name", "baselines", ["name", "seq"])
    op.create_index("acceptances_row", "acceptances", ["model", "check_id", "precision", "seq"])
    op.create_index("noise_row", "noise", ["serial", "model", "check_id", "precision", "seq"])
    guard("baselines", "acceptances", "noise")


def _table(
    name: str,
    *,
    needed: tuple[str, ...],
    optional: tuple[str, ...] = (),
    numbers: tuple[str, ...] = (),
    counts: tuple[str, ...] = (),
) -> None:
    op.create_table(
        name,
        sa.Column("seq", sa.Integer, primary_key=True, autoincrement=True),
        *(sa.Column(each, sa.Text, nullable=False) for each in needed),
        *(sa.Column(each, sa.Text) for each in optional),
        *(sa.Column(each, sa.Double, nullable=False) for each in numbers),
        *(sa.Column(each, sa.Integer, nullable=False) for each in counts),
        sqlite_autoincrement=True,
    )
