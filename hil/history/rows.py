"""Between what a history hands out and the rows of its tables."""

from __future__ import annotations

import json
from dataclasses import fields
from datetime import datetime, timezone
from typing import TYPE_CHECKING, Any

from hil.history.entries import Acceptance, Baseline, Noise, Point, RunRecord
from hil.text import cleaned

if TYPE_CHECKING:
    from sqlalchemy import RowMapping

RENAMED = {"commit": "commit_id", "check": "check_id", "when": "at"}
"""Names that are words of SQL, and what the columns are called instead."""
RUN_FIELDS = tuple(field.name for field in fields(RunRecord))
POINT_FIELDS = tuple(field.name for field in fields(Point) if field.name != "run")


def moment(when: datetime) -> str:
    """An instant as it is stored: UTC, to the microsecond, so that text sorts as time does."""
    return when.astimezone(timezone.utc).isoformat(timespec="microseconds")


def run_row(run: RunRecord) -> dict[str, Any]:
    """The row of a run, ``seq`` aside."""
    row = {RENAMED.get(name, name): getattr(run, name) for name in RUN_FIELDS}
    return {**row, "started": moment(run.started), "usable": run.usable}


def run_of(row: RowMapping) -> RunRecord:
    """The run in a row, which may hold other columns too."""
    values = cleaned({name: row[RENAMED.get(name, name)] for name in RUN_FIELDS})
    return RunRecord(**{**values, "started": datetime.fromisoformat(values["started"])})


def point_row(point: Point, seq: int) -> dict[str, Any]:
    """The row of a point of the run with this ``seq``."""
    row = {RENAMED.get(name, name): getattr(point, name) for name in POINT_FIELDS}
    return {**row, "run": seq, "runs": json.dumps(point.runs)}


def point_of(row: RowMapping, run: RunRecord) -> Point:
    """The point in a row."""
    values = cleaned({name: row[RENAMED.get(name, name)] for name in POINT_FIELDS})
    return Point(run=run, **{**values, "runs": tuple(json.loads(values["runs"]))})


def added_row(added: Acceptance | Baseline | Noise) -> dict[str, Any]:
    """The row of what somebody added."""
    row = {RENAMED.get(field.name, field.name): getattr(added, field.name) for field in fields(added)}
    row["at"] = moment(added.when)
    return {**row, "runs": json.dumps(added.runs)} if isinstance(added, Baseline) else row


def added_of(kind: type[Any], row: RowMapping) -> Any:
    """The ``kind`` (``Acceptance``, ``Baseline``, ``Noise``) in a row."""
    values = cleaned({field.name: row[RENAMED.get(field.name, field.name)] for field in fields(kind)})
    values["when"] = datetime.fromisoformat(values["when"])
    if kind is Baseline:
        values["runs"] = tuple(json.loads(values["runs"]))
    return kind(**values)
