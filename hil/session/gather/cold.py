"""What happens once: load and first inference, each in a process of its own."""

from __future__ import annotations

from typing import TYPE_CHECKING

from hil.checks import latency
from hil.session.gather.gathered import Gathered
from hil.session.gather.timing import feeds_of

if TYPE_CHECKING:
    from hil.model import Row
    from hil.session.core import Session

REPEATS = 3
METHOD = {"version": 1, "scenario": "cold", "process": "fresh", "page_cache": "as found", "repeats": REPEATS}


def load(session: Session, row: Row) -> Gathered:
    """``latency.cold_load``: from the engine's file to ready, the runtime's own import left out."""
    values = [once[0] for once in _starts(session, row)]
    return Gathered(latency.single(values, row.limit), {**METHOD, "timed": "engine load"})


def first(session: Session, row: Row) -> Gathered:
    """``latency.first_inference``: the first run after loading."""
    values = [once[1] for once in _starts(session, row)]
    return Gathered(latency.single(values, row.limit), {**METHOD, "timed": "first inference, host-to-host"})


def _starts(session: Session, row: Row) -> list[tuple[float, float]]:
    return session.memo.once(("cold", row.model, row.precision), lambda: _start(session, row))


def _start(session: Session, row: Row) -> list[tuple[float, float]]:
    feeds = feeds_of(session, row.model, session.model(row.model).batch)[0]
    starts = []
    for _ in range(REPEATS):
        with session.engines.fresh(row.model, row.precision) as worker:
            starts.append((float(worker.load["load_seconds"]), worker.first(feeds)))
    return starts
