"""Time an engine at the rate of the model's ``run`` table: one inference is released in each period."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from hil.checks import paced
from hil.errors import Unsupported
from hil.session.engines.control import control
from hil.session.gather import timing
from hil.session.sampling.sampling import MAX_SAMPLES, conditions, feeds_of, series_of
from hil.stats import smallest_n
from hil.units import show

if TYPE_CHECKING:
    from hil.results import Judgement, Row
    from hil.series import Series
    from hil.session.engine_context import EngineContext
    from hil.session.gather.gathered import Gathered

SPARE = 2
"""Factor on the fewest releases that can decide a limit. It leaves room for a few late responses."""


@dataclass(frozen=True)
class Pace:
    """How inferences are released: ``rate`` per second, with a ``deadline`` in seconds from release to completion."""

    rate: float
    deadline: float


def pace_of(session: EngineContext, model: str) -> Pace:
    """Return the model's pace. Raises ``Unsupported`` if its ``run`` table has no rate."""
    run = session.model(model).run
    if run.rate is None:
        raise Unsupported(f"the rate of model {model} is not known: add rate to [models.{model}.run]")
    return Pace(run.rate, 1 / run.rate if run.deadline is None else run.deadline)


def response_p99(session: EngineContext, row: Row) -> Gathered:
    """Judge ``paced.response_p99``: the 99th percentile of the time from release to completion."""
    series = paced_series(session, row)
    return _gathered(session, row, series, paced.response_p99(series, row.limit, _confidence(session)))


def missed(session: EngineContext, row: Row) -> Gathered:
    """Judge ``paced.missed``: the share of releases that missed the deadline."""
    series, deadline = paced_series(session, row), pace_of(session, row.model).deadline
    judgement = paced.missed(series, deadline, row.limit, _confidence(session))
    return _gathered(session, row, series, judgement, deadline)


def streak(session: EngineContext, row: Row) -> Gathered:
    """Judge ``paced.streak``: the largest number of consecutive releases that missed the deadline."""
    series, deadline = paced_series(session, row), pace_of(session, row.model).deadline
    judgement = paced.streak(series, deadline, row.limit, _confidence(session))
    return _gathered(session, row, series, judgement, deadline)


def jitter(session: EngineContext, row: Row) -> Gathered:
    """Judge ``paced.jitter``: the 99th percentile of the response time's distance from its median."""
    series = paced_series(session, row)
    return _gathered(session, row, series, paced.jitter(series, row.limit, _confidence(session)))


def paced_series(session: EngineContext, row: Row) -> Series:
    """Return the series that all paced rows of an engine share; the first call measures it."""
    pace = pace_of(session, row.model)
    name = f"{row.model}-{row.precision}-paced"
    return session.samples.once(name, lambda: _measure(session, row.model, row.precision, pace))


def releases(session: EngineContext, model: str, precision: str, pace: Pace) -> int:
    """Return how many inferences to release in the series of an engine, at least 1."""
    spec = session.config.spec.measure
    counts = [pace.rate * spec.duration, SPARE * smallest_n(paced.Q, spec.confidence)]
    for row in session.plan.rows:
        has_limit_here = (row.id, row.model, row.precision) == ("paced.missed", model, precision)
        if has_limit_here and row.limit is not None and 0 < row.limit.value < 1:
            counts.append(SPARE * smallest_n(1 - row.limit.value, spec.confidence))
    return max(1, math.floor(min(max(counts), pace.rate * spec.paced, MAX_SAMPLES)))


def _measure(session: EngineContext, model: str, precision: str, pace: Pace) -> Series:
    spec = session.config.spec.measure
    feeds = feeds_of(session, model, session.model(model).batch)
    count = releases(session, model, precision, pace)
    session.engines.provisioned(model, precision)
    beside = control(session)
    with session.engines.lease(model, precision) as worker, conditions(session):
        seconds = count / pace.rate
        text = f"{model} {precision}: {count} releases at {pace.rate:g} /s, for {show(seconds, 's')}"
        with session.progress.step(text, seconds=timing.longest(spec, seconds)):
            timed = worker.pace(feeds, warmup=spec.warmup, period=1 / pace.rate, releases=count, control=beside)
        return series_of(session, model, timed, len(feeds))


def _confidence(session: EngineContext) -> float:
    return session.config.spec.measure.confidence


def _gathered(
    session: EngineContext, row: Row, series: Series, judgement: Judgement, deadline: float | None = None
) -> Gathered:
    usable = not paced.unusable(series)
    gathered = timing.of_series(session, row, paced.responses(series) if usable else series, judgement, "paced")
    if deadline is None:
        return gathered
    return replace(gathered, method={**gathered.method, "deadline": deadline})
