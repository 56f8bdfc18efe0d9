"""Time one engine in several runs, each in a fresh process.

All samples of one process share its memory layout, caches and clocks, so only the runs are independent observations
(Georges et al., OOPSLA 2007; Kalibera and Jones, ISMM 2013).
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import numpy as np

from hil.checks import fps, latency
from hil.series import Series, digest_of, without_control
from hil.session.amendments.row_facts import RunValues
from hil.session.engines.control import control
from hil.session.sampling import spreading
from hil.session.sampling.sampling import MAX_SAMPLES, conditions, feeds_of, series_of
from hil.session.target import state_contract
from hil.units import show

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from hil.results import Judgement, Row
    from hil.session.engine_context import EngineContext

QUANTILES = {"latency.p50": 0.5, "latency.p90": 0.9, "latency.p99": 0.99}
MIN_SAMPLES = 30
"""Fewest inferences of a run, so that its median is meaningful; fewer only if the worker's deadline ends the run."""
MIN_RUNS = 2
"""Fewer runs are not timed: a single run adds nothing to the row's own series."""


def measure_runs(  # noqa: PLR0913 - the engine, the number of runs and their kind, each named at the call
    session: EngineContext, model: str, precision: str, n: int, *, streams: int = 1, label: str = "run"
) -> list[Series]:
    """Time an engine in ``n`` fresh processes, one after the other, for ``measure.run_duration`` each.

    Each series is stored in the report under a name with ``label`` and the run's number. Raise the errors of building,
    loading and timing.
    """
    return [measure_run(session, model, precision, f"{label}-{number}", streams=streams) for number in range(1, n + 1)]


def measure_run(session: EngineContext, model: str, precision: str, label: str, *, streams: int = 1) -> Series:
    """Time an engine in one fresh process, as ``measure_runs`` does, and store the series under ``label``."""
    name = f"{model}-{precision}-{'streams-' if streams > 1 else ''}{label}"
    return session.samples.once(name, lambda: _run(session, model, precision, label, streams))


def _run(session: EngineContext, model: str, precision: str, label: str, streams: int) -> Series:
    spec, batch = session.config.spec.measure, session.model(model).batch
    feeds = feeds_of(session, model, batch)
    session.engines.provisioned(model, precision)  # build first: building heats the board before the state is read
    beside = control(session)
    with session.engines.fresh(model, precision) as worker, conditions(session):
        text = f"{model} {precision}: {label.replace('-', ' ')}: timing for {show(spec.run_duration, 's')}"
        window: dict[str, Any] = {"min_samples": MIN_SAMPLES, "max_samples": MAX_SAMPLES}
        window |= {"warmup": spec.warmup, "seconds": spec.run_duration, "control": beside}
        with session.progress.step(text, seconds=spec.run_duration + 4 * spec.warmup + 1):
            timed = worker.throughput(feeds, streams=streams, **window) if streams > 1 else worker.time(feeds, **window)
    return series_of(session, model, timed, len(feeds))


def _spread(session: EngineContext, row: Row, n: int, streams: int) -> None:
    def measure(precision: str, number: int) -> Series:
        return measure_run(session, row.model, precision, f"run-{number}", streams=streams)

    spreading.spread(session, row.model, row.precision, n, measure)


def fewest_of(q: float) -> int:
    """Return the fewest samples with which the ``q`` quantile of a run is not its largest sample: 100 for the p99."""
    return math.ceil(round(1 / (1 - q), 6))


def value(check: str, series: Series) -> float | None:
    """Return the value of ``check`` in one run: ``latency.p50``, ``p90``, ``p99`` (s) or ``fps.sustained`` (1/s).

    ``None`` for any other check, for an unusable series, and for too few samples for the quantile.
    """
    if latency.unusable(series):
        return None
    if check in QUANTILES:
        q = QUANTILES[check]
        if series.n < fewest_of(q):
            return None
        return float(np.quantile(series.duration, q, method="inverted_cdf"))
    return fps.rate(series) if check == "fps.sustained" else None


def values(check: str, runs: Sequence[Series], method: Mapping[str, Any]) -> tuple[tuple[float, ...], str]:
    """Return the value of ``check`` in each run and an empty text, or no values and the reason.

    Each run must have a value and the method ``method``; the control in a method does not count.
    """
    results = []
    for number, run in enumerate(runs, 1):
        if digest_of(without_control(run.method)) != digest_of(without_control(method)):
            return (), f"run {number} was timed by another method"
        result = value(check, run)
        if result is None:
            return (), f"run {number} has no value of {check} ({latency.unusable(run) or f'{run.n} samples'})"
        results.append(result)
    return tuple(results), ""


def run_values(
    session: EngineContext, row: Row, judgement: Judgement, series: Series, streams: int = 1
) -> RunValues | None:
    """Time the engine in as many fresh processes as were requested, and return the value of ``row.id`` in each.

    Return ``None`` if fewer than two were requested, if ``judgement`` has no measurement, or if ``value`` does not
    support the check. If the values cannot be used, ``details["why_not"]`` is the reason.
    """
    requested = session.runs
    if requested < MIN_RUNS or judgement.measurement is None or row.id not in {*QUANTILES, "fps.sustained"}:
        return None
    if session.over > 0:
        # The first row of a model makes the runs of all engines that were planned.
        alone = row.precision not in session.engines.needed(row.model)
        key = ("spread", row.model, row.precision if alone else "", str(streams))
        session.memo.once(key, lambda: _spread(session, row, requested, streams))
    runs = measure_runs(session, row.model, row.precision, requested, streams=streams)
    results, why_not = values(row.id, runs, series.method)
    duration = session.config.spec.measure.run_duration
    details = {"asked": requested, "seconds": duration, "samples": [run.n for run in runs]}
    if why_not:
        details["why_not"] = why_not
    return RunValues(results, details, state_contract.findings_of(*runs), tuple(run.control for run in runs))
