"""Define the tables of the newest schema, for queries. ``migrations/`` creates them, not this module."""

from __future__ import annotations

import sqlalchemy as sa

METADATA = sa.MetaData()


def _texts(*names: str) -> list[sa.Column[str]]:
    return [sa.Column(name, sa.Text) for name in names]


RUNS = sa.Table(
    "runs",
    METADATA,
    sa.Column("seq", sa.Integer, primary_key=True),
    *_texts("id", "report_digest", "started", "target", "used", "kind", "runtime", "decision", "hil_version"),
    *_texts("config_digest", "board", "module", "serial", "jetpack", "l4t", "runtime_version", "cuda", "commit_id"),
    *_texts("evidence"),
    sa.Column("dirty", sa.Boolean),
    sa.Column("exit_code", sa.Integer),
    sa.Column("whole", sa.Boolean),
    sa.Column("usable", sa.Boolean),
)
RUN_MODELS = sa.Table(
    "run_models",
    METADATA,
    sa.Column("model", sa.Text, primary_key=True),
    sa.Column("run", sa.Integer, primary_key=True),
)
MEASUREMENTS = sa.Table(
    "measurements",
    METADATA,
    sa.Column("run", sa.Integer, primary_key=True),
    *(sa.Column(name, sa.Text, primary_key=True) for name in ("model", "check_id", "precision", "scenario")),
    *(sa.Column(name, sa.Double) for name in ("value", "low", "high")),
    sa.Column("n", sa.BigInteger),
    *_texts("unit", "runs", "method", "environment", "verdict", "engine", "executed_on"),
    *_texts("control", "disturbed"),
)
FACTS = sa.Table("facts", METADATA, sa.Column("digest", sa.String(64), primary_key=True), *_texts("content"))
BASELINES = sa.Table(
    "baselines",
    METADATA,
    sa.Column("seq", sa.Integer, primary_key=True),
    *_texts("name", "runs", "who", "why", "at"),
)
ACCEPTANCES = sa.Table(
    "acceptances",
    METADATA,
    sa.Column("seq", sa.Integer, primary_key=True),
    *_texts("run", "check_id", "model", "precision", "scenario", "target", "serial", "unit", "who", "why", "at"),
    sa.Column("value", sa.Double),
)
NOISE = sa.Table(
    "noise",
    METADATA,
    sa.Column("seq", sa.Integer, primary_key=True),
    *_texts("serial", "target", "check_id", "model", "precision", "at"),
    *(sa.Column(name, sa.Double) for name in ("sd", "false_alarm")),
    sa.Column("comparisons", sa.Integer),
)
