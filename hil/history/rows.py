"""Convert between the entries of a history and the rows of its tables."""

from __future__ import annotations

import json
from dataclasses import fields
from datetime import datetime, timezone
from typing import TYPE_CHECKING, Any

from hil.history.entries import Acceptance, Baseline, Noise, Point, RunRecord
from hil.results import ControlSummary
from hil.text import cleaned

if TYPE_CHECKING:
    from sqlalchemy import RowMapping

RENAMED = {"commit": "commit_id", "check": "check_id", "when": "at"}
"""Fields whose names are SQL keywords, with the names of their columns."""
RUN_FIELDS = tuple(field.name for field in fields(RunRecord))
POINT_FIELDS = tuple(field.name for field in fields(Point) if field.name != "run")


def moment(when: datetime) -> str:
    """Return a time as it is stored: ISO 8601 in UTC with microseconds. Such texts sort in the order of their times."""
    return when.astimezone(timezone.utc).isoformat(timespec="microseconds")


def run_row(run: RunRecord) -> dict[str, Any]:
    """Return the row of a run, without ``seq``."""
    row = {RENAMED.get(name, name): getattr(run, name) for name in RUN_FIELDS}
    return {**row, "started": moment(run.started), "usable": run.usable}


def run_of(row: RowMapping) -> RunRecord:
    """Return the run that ``row`` stores; other columns of ``row`` are ignored."""
    values = cleaned({name: row[RENAMED.get(name, name)] for name in RUN_FIELDS})
    return RunRecord(**{**values, "started": datetime.fromisoformat(values["started"])})


def point_row(point: Point, seq: int) -> dict[str, Any]:
    """Return the row of a point of the run with this ``seq``."""
    row = {RENAMED.get(name, name): getattr(point, name) for name in POINT_FIELDS}
    control = None if point.control is None else point.control.model_dump_json()
    lists = {"runs": json.dumps(point.runs), "disturbed": json.dumps(point.disturbed)}
    return {**row, "run": seq, "control": control, **lists}


def point_of(row: RowMapping, run: RunRecord) -> Point:
    """Return the point of ``run`` that ``row`` stores."""
    values = cleaned({name: row[RENAMED.get(name, name)] for name in POINT_FIELDS})
    control = None if row["control"] is None else ControlSummary.model_validate(cleaned(json.loads(row["control"])))
    disturbed = tuple(cleaned(json.loads(row["disturbed"] or "[]")))
    lists = {"runs": tuple(json.loads(values["runs"])), "disturbed": disturbed}
    return Point(run=run, **{**values, "control": control, **lists})


def added_row(added: Acceptance | Baseline | Noise) -> dict[str, Any]:
    """Return the row of an acceptance, a baseline or a noise entry."""
    row = {RENAMED.get(field.name, field.name): getattr(added, field.name) for field in fields(added)}
    row["at"] = moment(added.when)
    return {**row, "runs": json.dumps(added.runs)} if isinstance(added, Baseline) else row


def added_of(kind: type[Any], row: RowMapping) -> Any:
    """Return the entry of class ``kind`` (``Acceptance``, ``Baseline``, ``Noise``) that ``row`` stores."""
    values = cleaned({field.name: row[RENAMED.get(field.name, field.name)] for field in fields(kind)})
    values["when"] = datetime.fromisoformat(values["when"])
    if kind is Baseline:
        values["runs"] = tuple(json.loads(values["runs"]))
    return kind(**values)
