"""Runs: one engine timed again and again, each time in a fresh process.

Between runs the run is the unit: a process has its own memory layout, caches and clocks, and all samples in it
share them, so that thousands of samples of one process say nothing about the next (Georges et al., OOPSLA 2007;
Kalibera and Jones, ISMM 2013).
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np

from hil.checks import fps, latency
from hil.series import Series, digest_of
from hil.session.sampling.sampling import MOST_SAMPLES, conditions, feeds_of, series_of
from hil.session.target import state_contract

if TYPE_CHECKING:
    from collections.abc import Sequence

    from hil.results import Judgement, Row
    from hil.session.engine_context import EngineContext

QUANTILES = {"latency.p50": 0.5, "latency.p90": 0.9, "latency.p99": 0.99}
FEWEST = 30
"""Inferences of a run at least, so that its median is one (as far as the worker's deadline allows)."""


def take(  # noqa: PLR0913 - which engine, how many, how: each is named at the call
    session: EngineContext, model: str, precision: str, n: int, *, lanes: int = 1, label: str = "run"
) -> list[Series]:
    """``n`` runs of an engine: fresh workers one after the other, each timed for ``measure.run_duration``.

    Each warms up and is timed under the state contract, by the same method as the series that limits are judged by.
    A run is taken once by all processes of a pytest run, and is a file of the report: ``MODEL-PRECISION-LABEL-1``.
    ``lanes`` above 1 has that many inferences in flight. Raises what timing an engine raises.
    """
    return [one(session, model, precision, f"{label}-{number}", lanes=lanes) for number in range(1, n + 1)]


def one(session: EngineContext, model: str, precision: str, label: str, *, lanes: int = 1) -> Series:
    """One run; ``label`` is the end of its file's name. For who wants the runs of two engines to alternate."""
    name = f"{model}-{precision}-{'streams-' if lanes > 1 else ''}{label}"
    return session.samples.once(name, lambda: _run(session, model, precision, label, lanes))


def _run(session: EngineContext, model: str, precision: str, label: str, lanes: int) -> Series:
    spec, batch = session.config.spec.measure, session.model(model).batch
    feeds = feeds_of(session, model, batch)
    session.engines.provisioned(model, precision)  # building heats, and is over before the state is watched
    with session.engines.fresh(model, precision) as worker, conditions(session):
        session.progress(f"{model} {precision}: {label.replace('-', ' ')}: timing for {spec.run_duration:g} s")
        window = {"min_samples": FEWEST, "max_samples": MOST_SAMPLES}
        if lanes > 1:
            timed = worker.throughput(feeds, streams=lanes, warmup=spec.warmup, seconds=spec.run_duration, **window)
        else:
            timed = worker.time(feeds, warmup=spec.warmup, seconds=spec.run_duration, **window)
    return series_of(session, model, timed, len(feeds))


def value(check: str, series: Series) -> float | None:
    """What one run gives for ``latency.p50``, ``p90``, ``p99`` (s) or ``fps.sustained`` (1/s); None if it cannot tell.

    A percentile needs as many samples as let one lie beyond it: 100 for the 99th.
    """
    if latency.unusable(series):
        return None
    if check in QUANTILES:
        q = QUANTILES[check]
        if series.n < math.ceil(round(1 / (1 - q), 6)):
            return None
        return float(np.quantile(series.duration, q, method="inverted_cdf"))
    return fps.rate(series) if check == "fps.sustained" else None


def values(check: str, series: Sequence[Series], method: str) -> tuple[tuple[float, ...], str]:
    """The runs' values of ``check``, or none of them and why: one of another ``method`` (a digest) spoils them all."""
    found = []
    for number, taken in enumerate(series, 1):
        if digest_of(taken.method) != method:
            return (), f"run {number} was timed by another method"
        told = value(check, taken)
        if told is None:
            return (), f"run {number} has no such value ({latency.unusable(taken) or f'{taken.n} samples'})"
        found.append(told)
    return tuple(found), ""


def added(session: EngineContext, row: Row, judgement: Judgement, series: Series, lanes: int = 1) -> Judgement:
    """``judgement`` with the runs' values beside its own number, where runs were asked for and it has a number.

    What disturbed one of the runs from outside disturbs the row.
    """
    measurement = judgement.measurement
    asked = session.runs
    if asked < 2 or measurement is None or row.id not in {*QUANTILES, "fps.sustained"}:
        return judgement
    taken = take(session, row.model, row.precision, asked, lanes=lanes)
    found, why_not = values(row.id, taken, digest_of(series.method))
    about = {"asked": asked, "seconds": session.config.spec.measure.run_duration, "samples": [one.n for one in taken]}
    details = {**judgement.details, "runs": {**about, "why_not": why_not} if why_not else about}
    update = {"measurement": measurement.model_copy(update={"runs": found}), "details": details}
    return state_contract.told(judgement.model_copy(update=update), *taken)
