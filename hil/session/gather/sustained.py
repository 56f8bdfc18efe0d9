"""Time each engine in one long series without pauses, so that the board heats up."""

from __future__ import annotations

from typing import TYPE_CHECKING

from hil.checks import sustained
from hil.session.engines.control import control
from hil.session.gather import timing
from hil.session.sampling.sampling import conditions, feeds_of, series_of
from hil.units import show

if TYPE_CHECKING:
    from hil.results import Row
    from hil.series import Series
    from hil.session.engine_context import EngineContext
    from hil.session.gather.gathered import Gathered

MAX_SAMPLES = 5_000_000
"""Most samples of one series: 80 MB on the target, or over three minutes of inferences of 40 µs."""


def p99(session: EngineContext, row: Row) -> Gathered:
    """Judge ``sustained.p99``: the 99th percentile of the latency at the end of the series."""
    series, spec = sustained_series(session, row), session.config.spec.measure
    judgement = sustained.p99(series, spec.sustained, row.limit, spec.confidence)
    return timing.of_series(session, row, series, judgement, "sustained")


def frames(session: EngineContext, row: Row) -> Gathered:
    """Judge ``sustained.fps``: the frame rate at the end of the series."""
    series, spec = sustained_series(session, row), session.config.spec.measure
    return timing.of_series(session, row, series, sustained.frames(series, spec.sustained, row.limit), "sustained")


def slowdown(session: EngineContext, row: Row) -> Gathered:
    """Judge ``sustained.slowdown``: how much slower the engine is at the end of the series than at its start."""
    series, spec = sustained_series(session, row), session.config.spec.measure
    judgement = sustained.slowdown(series, spec.sustained, row.limit, spec.confidence)
    return timing.of_series(session, row, series, judgement, "sustained")


def sustained_series(session: EngineContext, row: Row) -> Series:
    """Return the series that all sustained rows of an engine share; the first call measures it without a pause."""
    name = f"{row.model}-{row.precision}-sustained"
    return session.samples.once(name, lambda: _measure(session, row.model, row.precision))


def _measure(session: EngineContext, model: str, precision: str) -> Series:
    spec = session.config.spec.measure
    feeds = feeds_of(session, model, session.model(model).batch)
    session.engines.provisioned(model, precision)
    beside = control(session)
    with session.engines.lease(model, precision) as worker, conditions(session):
        window = {"min_samples": 1, "max_samples": MAX_SAMPLES}
        text, longest = (
            f"{model} {precision}: working for {show(spec.sustained, 's')}",
            timing.longest(spec, spec.sustained),
        )
        with session.progress.step(text, seconds=longest):
            timed = worker.time(feeds, warmup=spec.warmup, seconds=spec.sustained, control=beside, **window)
        timed.method.update(scenario="sustained", seconds=spec.sustained)
        return series_of(session, model, timed, len(feeds))
