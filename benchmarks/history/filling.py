"""Fill a history with 20,000 runs of 50 measurements each, as from nightly runs on a few boards with many releases."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any

from hil.history import open_history
from hil.history.connect import WRITES, engine_for
from hil.history.derive import derive
from hil.history.rows import point_row, run_row
from hil.history.tables import FACTS, MEASUREMENTS, RUN_MODELS, RUNS
from hil.history.urls import place_of
from tests.history import run_reports

if TYPE_CHECKING:
    import sqlalchemy as sa

    from hil.history import Point
    from hil.history.derive import Derived

RUNS_KEPT, PER_RUN = 20_000, 50
AT_ONCE = 500
MODELS, TARGETS = 20, 6
RELEASES = ("4.6.1", "5.1.2", "5.1.5", "6.0", "6.1", "6.2", "6.2.1", "7.0", "7.1", "7.2")
"""The JetPack releases of the runs. Each run has one release and one target, and measures two of the models."""

ROOT = Path("/")
EMPTY: dict[str, Any] = {}


def fill(url: str, runs: int) -> int:
    """Create the history, add ``runs`` runs, and return the number of measurements."""
    with open_history(url, base=ROOT):
        pass
    engine = engine_for(place_of(url, ROOT), read_only=False).execution_options(**{WRITES: True})
    template = derive(run_reports.on_jetpack(0, "6.2"))
    try:
        for first in range(0, runs, AT_ONCE):
            with engine.begin() as connection:
                _some(connection, template, range(first, min(first + AT_ONCE, runs)), facts=first == 0)
    finally:
        engine.dispose()
    return runs * PER_RUN


def _some(connection: sa.Connection, template: Derived, numbers: range, *, facts: bool) -> None:
    """Add many runs at once, with the rows that ``hil.history.add_run`` would write one run at a time."""
    run_rows, model_rows, point_rows = [], [], []
    for number in numbers:
        run = replace(
            template.run,
            id=f"{number:016x}",
            report_digest=f"{number:064x}",
            started=template.run.started + timedelta(minutes=7 * number),
            target=f"board-{number % TARGETS}",
            used=f"board-{number % TARGETS}",
            serial=f"14200{number % TARGETS}",
            jetpack=RELEASES[number * len(RELEASES) // RUNS_KEPT if number % 3 else number % len(RELEASES)],
            commit=f"{number // 10:040x}",
        )
        seq = number + 1
        run_rows.append({**run_row(run), "seq": seq})
        models = [f"model-{(number + each) % MODELS:02}" for each in (0, 7)]
        model_rows += [{"model": model, "run": seq} for model in models]
        point_rows += [point_row(point, seq) for point in _points(template, models, number)]
    connection.execute(RUNS.insert(), run_rows)
    connection.execute(RUN_MODELS.insert(), model_rows)
    connection.execute(MEASUREMENTS.insert(), point_rows)
    if facts:
        connection.execute(FACTS.insert(), [{"digest": digest, "content": "{}"} for digest in template.facts])


def _points(template: Derived, models: list[str], number: int) -> list[Point]:
    points = [
        replace(point, run=template.run, model=model, value=point.value * (1 + number % 97 / 9700), runs=(1.0,) * 5)
        for model in models
        for point in template.points
    ]
    if len(points) < PER_RUN:
        raise ValueError(f"a run has {len(points)} measurements, {PER_RUN} are required")
    return points[:PER_RUN]
