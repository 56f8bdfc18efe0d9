"""Version 1: runs, their measurements and facts; baselines, acceptances and the noise of boards."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

from hil.history.migrations.append_only import guard, prepare

revision = "1"
down_revision = None


def upgrade() -> None:
    """Create the tables and their triggers."""
    _runs()
    _measurements()
    op.create_table(
        "facts",
        sa.Column("digest", sa.String(64), primary_key=True),
        sa.Column("content", sa.Text, nullable=False),
        sqlite_with_rowid=False,
    )
    _additions()
    prepare()
    guard("runs", "run_models", "measurements", "facts", "baselines", "acceptances", "noise")


def _runs() -> None:
    optional = ("board", "module", "serial", "jetpack", "l4t", "runtime_version", "cuda", "commit_id", "evidence")
    needed = ("started", "target", "used", "kind", "runtime", "decision", "hil_version", "config_digest")
    op.create_table(
        "runs",
        sa.Column("seq", sa.Integer, primary_key=True, autoincrement=True),
        sa.Column("id", sa.Text, nullable=False),
        sa.Column("report_digest", sa.String(64), nullable=False, unique=True),
        *(sa.Column(name, sa.Text, nullable=False) for name in needed),
        *(sa.Column(name, sa.Text) for name in optional),
        sa.Column("dirty", sa.Boolean, nullable=False),
        sa.Column("exit_code", sa.Integer),
        sa.Column("whole", sa.Boolean, nullable=False),
        sa.Column("usable", sa.Boolean, nullable=False),
        sqlite_autoincrement=True,
    )
    # A run can be stored twice, by its incomplete and by its complete report, but never by two complete ones.
    complete = sa.text("decision <> 'incomplete'")
    op.create_index("runs_id", "runs", ["id"], unique=True, sqlite_where=complete, postgresql_where=complete)
    op.create_index("runs_newest", "runs", ["started", "seq"])
    for name in ("jetpack", "commit_id", "target"):
        op.create_index(f"runs_{name}", "runs", [name, "started", "seq"])


def _measurements() -> None:
    op.create_table(
        "run_models",
        sa.Column("model", sa.Text, primary_key=True),
        sa.Column("run", sa.Integer, sa.ForeignKey("runs.seq"), primary_key=True),
        sqlite_with_rowid=False,
    )
    op.create_table(
        "measurements",
        sa.Column("run", sa.Integer, sa.ForeignKey("runs.seq"), primary_key=True),
        *(sa.Column(name, sa.Text, primary_key=True) for name in ("model", "check_id", "precision", "scenario")),
        sa.Column("value", sa.Double, nullable=False),
        sa.Column("unit", sa.Text, nullable=False),
        sa.Column("n", sa.BigInteger, nullable=False),
        sa.Column("low", sa.Double),
        sa.Column("high", sa.Double),
        sa.Column("runs", sa.Text, nullable=False),
        *(sa.Column(name, sa.Text, nullable=False) for name in ("method", "environment", "verdict")),
        *(sa.Column(name, sa.Text) for name in ("engine", "executed_on")),
        sqlite_with_rowid=False,
    )


def _additions() -> None:
    """Create the tables of baselines, acceptances and noise."""
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
