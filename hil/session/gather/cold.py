"""Measure the cold start: the time of engine load and first inference, in several fresh processes."""

from __future__ import annotations

from typing import TYPE_CHECKING

from hil.checks import latency
from hil.session.amendments.row_facts import Facts, RunValues
from hil.session.engines.control import control
from hil.session.gather.gathered import Gathered
from hil.session.sampling.sampling import feeds_of
from hil.session.target.contract_method import method

if TYPE_CHECKING:
    from hil.results import Row
    from hil.session.engine_context import EngineContext
    from hil.state import Finding
    from hil.stats.control import ControlSeries

    Starts = tuple[list[tuple[float, float]], list[Finding], tuple[ControlSeries | None, ...]]

EXPECTED = 5.0
"""The longest expected time of a start, in seconds.

The step states it, because the report may be rewritten during a step of unknown length. Rewriting would disturb the
measured times.
"""

REPEATS = 3
METHOD = {"version": 1, "scenario": "cold", "process": "fresh", "page_cache": "as found"}


def load(session: EngineContext, row: Row) -> Gathered:
    """Judge ``latency.cold_load``: the time to load the engine from its file, without importing the runtime."""
    return _judged(session, row, 0, "engine load")


def first(session: EngineContext, row: Row) -> Gathered:
    """Judge ``latency.first_inference``: the time of the first inference after loading."""
    return _judged(session, row, 1, "first inference, host-to-host")


def _judged(session: EngineContext, row: Row, which: int, timed: str) -> Gathered:
    starts, findings, controls = _starts(session, row)
    repeats = [once[which] for once in starts]
    how = {**METHOD, "repeats": len(repeats), "timed": timed, **method(session.spec)}
    runs = RunValues(tuple(repeats))  # each repeat was a fresh process
    beside = control(session)
    if beside is not None:
        how["control"] = beside.method
    facts = Facts(runs=runs, findings=tuple(findings), controls=controls)
    return Gathered(latency.single(repeats, row.limit), how, facts)


def _starts(session: EngineContext, row: Row) -> Starts:
    return session.memo.once(("cold", row.model, row.precision), lambda: _start(session, row))


def _start(session: EngineContext, row: Row) -> Starts:
    feeds = feeds_of(session, row.model, session.model(row.model).batch)[0]
    starts: list[tuple[float, float]] = []
    controls: list[ControlSeries | None] = []
    session.engines.provisioned(row.model, row.precision)  # build before the state is watched
    beside = control(session)
    repeats = max(REPEATS, session.runs)
    text = f"{row.model} {row.precision}: loading {repeats} times"
    with (
        session.state.watching() as disturbances,
        session.progress.step(text, total=repeats, unit="times", seconds=EXPECTED * repeats, said=False) as step,
    ):
        for left in step.counting(range(repeats - 1, -1, -1)):
            with session.engines.fresh(row.model, row.precision, more=left) as worker:
                starts.append((float(worker.load["load_seconds"]), worker.first(feeds)))
                if beside is not None:  # after the start: earlier, it would load what the cold start must load
                    controls.append(worker.control(beside, float(worker.load["import_seconds"]) + sum(starts[-1])))
    return starts, disturbances.findings, tuple(controls)
