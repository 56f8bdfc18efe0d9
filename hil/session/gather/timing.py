"""Measure latency and frame rate: one series of inferences without pauses for each engine.

A series is extended until all limits are decided or ``measure.budget`` is spent.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np

from hil.checks import energy, fps, latency
from hil.config.merge import limits_of
from hil.errors import HilError, Unsupported
from hil.results import Verdict
from hil.series import Series
from hil.session.amendments import amended
from hil.session.amendments.row_facts import Facts
from hil.session.engines import load_options
from hil.session.engines.control import control
from hil.session.gather.gathered import Gathered
from hil.session.sampling import replicates
from hil.session.sampling.sampling import MAX_SAMPLES, conditions, feeds_of, series_of
from hil.session.target import contract_method, state_contract
from hil.stats import InterimAnalyses, samples_of_first_analysis
from hil.stats.control import ControlSeries
from hil.units import show

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from hil.config.spec import MeasureSpec
    from hil.results import Judgement, Row
    from hil.session.engine_context import EngineContext

QUANTILES = replicates.QUANTILES
FPS = {"fps.sustained": fps.sustained, "fps.slowest_second": fps.slowest_second, "fps.last_100": fps.last_100}
PROFILED_RUNS = 20
TAIL_GROWTH = 2.0


def interim_analyses(spec: MeasureSpec) -> InterimAnalyses:
    """Return the plan of interim analyses: when a growing series is judged, and at which confidence.

    It is judged after ``measure.duration``, then each time its length has doubled, and finally after
    ``measure.budget``.
    """
    return InterimAnalyses(spec.duration, spec.budget, spec.confidence)


def confidence(spec: MeasureSpec, *series: Series) -> float:
    """Return the confidence at which to judge ``series``, so that all interim analyses keep ``measure.confidence``.

    For several series, the highest is returned.
    """
    plan = interim_analyses(spec)
    return max(plan.level(min(int(one.facts.get("looks", 1)), plan.count)) for one in series)


def percentile(session: EngineContext, row: Row) -> Gathered:
    """Judge ``latency.p50``, ``p90`` or ``p99`` by the engine's series of inferences without pauses."""
    series = saturated(session, row.model, row.precision)
    level = confidence(session.config.spec.measure, series)
    judgement = latency.percentile(series, QUANTILES[row.id], row.limit, level)
    facts = Facts(details=energy.as_details(series), runs=replicates.run_values(session, row, judgement, series))
    return of_series(session, row, series, judgement, "saturated", facts)


def rate(session: EngineContext, row: Row) -> Gathered:
    """Judge ``fps.sustained``, ``slowest_second`` or ``last_100``, with ``run.streams`` inferences in flight."""
    streams = load_options.streams(session.spec, session.model(row.model))
    if streams > 1:
        series, scenario = streamed(session, row.model, row.precision, streams), "streams"
    else:
        series, scenario = saturated(session, row.model, row.precision), "saturated"
    judgement = FPS[row.id](series, row.limit)
    facts = Facts(runs=replicates.run_values(session, row, judgement, series, streams))
    return of_series(session, row, series, judgement, scenario, facts)


def speedup(session: EngineContext, row: Row) -> Gathered:
    """Judge ``int8.speedup`` or ``latency.speedup``: how many times faster the row's precision is than another one.

    The other precision is fp32 for ``int8.speedup``, and for ``latency.speedup`` the one that the config names. Raises
    ``Unsupported`` if it names none.
    """
    other = "fp32"
    if row.id != "int8.speedup":
        table = limits_of(session.model(row.model).limits, row.precision).speedup
        if table is None:
            what = f"no other precision is named: model {row.model} in {row.precision}"
            raise Unsupported(f"{what}: write limits.{row.precision}.speedup = {{ over = 'fp32', least = 1.2 }}")
        other = table.over
    reference = saturated(session, row.model, other)
    series = saturated(session, row.model, row.precision)
    level = confidence(session.config.spec.measure, reference, series)
    judgement = latency.ratio(reference, series, row.limit, level)
    findings, controls = state_contract.findings_of(reference, series), (reference.control, series.control)
    details = {"over": other}
    return Gathered(judgement, series.method, Facts(details=details, findings=findings, controls=controls))


def saturated(session: EngineContext, model: str, precision: str) -> Series:
    """Return the series of inferences without pauses, which the first call measures.

    It is timed for ``measure.duration``, and longer, up to ``measure.budget``, while a limit is undecided.
    """
    name = f"{model}-{precision}-saturated"
    return session.samples.once(name, lambda: _sample(session, model, precision))


def longest(spec: MeasureSpec, seconds: float) -> float:
    """Return the most seconds that the warm-up and a timed window of length ``seconds`` take together."""
    return seconds + 4 * spec.warmup + 1  # the rule of the agent's warm-up


def streamed(session: EngineContext, model: str, precision: str, streams: int) -> Series:
    """Return the series with ``streams`` inferences in flight, which the first call times for ``measure.duration``."""
    name = f"{model}-{precision}-streams"
    return session.samples.once(name, lambda: _sample_streams(session, model, precision, streams))


def _sample_streams(session: EngineContext, model: str, precision: str, streams: int) -> Series:
    spec, batch = session.config.spec.measure, session.model(model).batch
    feeds = feeds_of(session, model, batch)
    session.engines.provisioned(model, precision)
    beside = control(session)
    with session.engines.lease(model, precision) as worker, conditions(session):
        text = f"{model} {precision}: timing {streams} in flight for {show(spec.duration, 's')}"
        with session.progress.step(text, seconds=longest(spec, spec.duration)):
            timed = worker.throughput(
                feeds,
                streams=streams,
                warmup=spec.warmup,
                seconds=spec.duration,
                min_samples=1,
                max_samples=MAX_SAMPLES,
                control=beside,
            )
        return series_of(session, model, timed, len(feeds))


def fewest_samples(rows: Iterable[Row], model: str, precision: str, level: float) -> int:
    """Return the least number of samples in the first window of an engine's series.

    If one of the engine's percentiles has a limit, this number suffices for the first analysis of a p99 at confidence
    ``level``. Otherwise percentiles are only recorded, and 100 samples suffice (``replicates.fewest_of``).
    """
    limited = any(
        row.id in QUANTILES and row.limit is not None
        for row in rows
        if (row.model, row.precision) == (model, precision)
    )
    return samples_of_first_analysis(0.99, level) if limited else replicates.fewest_of(0.99)


def _sample(session: EngineContext, model: str, precision: str) -> Series:
    spec = session.config.spec.measure
    feeds = feeds_of(session, model, session.model(model).batch)
    fewest = fewest_samples(session.plan.rows, model, precision, spec.confidence)
    spent = 0.0
    parts: list[Series] = []
    session.engines.provisioned(model, precision)
    beside = control(session)
    with session.engines.lease(model, precision) as worker, conditions(session):
        for end in interim_analyses(spec).ends:
            seconds, spent = end - spent, end
            text = f"{model} {precision}: timing for {show(seconds, 's')}"
            with session.progress.step(text, seconds=longest(spec, seconds)):
                timed = worker.time(
                    feeds,
                    warmup=spec.warmup,
                    seconds=seconds,
                    min_samples=1 if parts else min(fewest, MAX_SAMPLES),
                    max_samples=MAX_SAMPLES,
                    control=beside,
                )
            batch = session.model(model).batch
            method = {**timed.method, "batch": batch, "feeds": len(feeds), **contract_method.method(session.spec)}
            columns = timed.start, timed.duration
            parts.append(Series(*columns, batch, method, timed.telemetry, timed.device, timed.control))
            series = _joined(parts, session.state.facts())
            if not _unsettled(session, model, precision, series):
                break
    return series


def _joined(parts: list[Series], state: Mapping[str, Any]) -> Series:
    last = parts[-1]
    facts = {"windows": [{**part.facts, "n": part.n} for part in parts], "looks": len(parts), **state}
    start = np.concatenate([part.start for part in parts])
    duration = np.concatenate([part.duration for part in parts])
    clocks = [part.device for part in parts if part.device is not None]
    # If a window has no device times the lengths differ, and the series is rejected as unusable.
    device = np.concatenate(clocks) if clocks else None
    beside = ControlSeries.joined([part.control for part in parts])
    return Series(start, duration, last.batch, last.method, facts, device, beside)


def _unsettled(session: EngineContext, model: str, precision: str, series: Series) -> bool:
    """Return whether a limit of the engine's latency or energy is still undecided, so that more should be timed."""
    level = confidence(session.config.spec.measure, series)
    rows = [row for row in session.plan.rows if (row.model, row.precision) == (model, precision)]
    return any(
        latency.percentile(series, QUANTILES[row.id], row.limit, level).verdict is Verdict.INCONCLUSIVE
        for row in rows
        if row.id in QUANTILES and row.limit is not None
    ) or any(energy.unsettled(series, row.limit, level) for row in rows if row.id == "energy.inference")


def of_series(  # noqa: PLR0913, PLR0917 - a row, its series, and what is known of both
    session: EngineContext, row: Row, series: Series, judgement: Judgement, scenario: str, facts: Facts | None = None
) -> Gathered:
    """Return ``judgement`` with ``facts``, and with the file, the histogram and the disturbances of its ``series``.

    ``scenario`` is the last part of the file's name. A row that fails or warns also gets the engine's slowest nodes.
    """
    facts = facts or Facts()
    file = session.samples.file(f"{row.model}-{row.precision}-{scenario}")
    details = {**facts.details, "samples": file, "histogram": histogram(series)}
    facts = replace(facts, details=details, findings=state_contract.findings_of(series), controls=(series.control,))
    if amended(row, judgement, facts).verdict in (Verdict.FAILED, Verdict.WARNED):
        facts = replace(facts, slowest_nodes=slowest_nodes(session, row))
    return Gathered(judgement, series.method, facts)


def slowest_nodes(session: EngineContext, row: Row) -> list[dict[str, Any]]:
    """Return the at most 10 slowest nodes by the runtime's profiler, slowest first; empty if profiling fails.

    The first call profiles the engine. The profiled runs are not part of any series.
    """
    key = ("profile", row.model, row.precision)
    return session.memo.once(key, lambda: _profile(session, row))


def _profile(session: EngineContext, row: Row) -> list[dict[str, Any]]:
    text = f"{row.model} {row.precision}: profiling the engine"
    try:
        with session.progress.step(text, said=False), session.engines.lease(row.model, row.precision) as worker:
            nodes = worker.profile(feeds_of(session, row.model, session.model(row.model).batch)[0], PROFILED_RUNS)
    except HilError as error:
        session.progress(f"{row.model} {row.precision}: no profile: {error}")
        return []
    total = sum(node.seconds for node in nodes) or 1.0
    ranked = sorted(nodes, key=lambda node: -node.seconds)[:10]
    return [{"name": n.name, "op": n.op, "seconds": n.seconds, "share": n.seconds / total} for n in ranked]


def histogram(series: Series, bins: int = 60) -> dict[str, list[float]]:
    """Return the histogram of durations: ``edges`` (s), one more than ``counts``.

    The bins end at twice the 99th percentile; the last bin also counts all longer durations. Both lists are empty if
    the series has no samples or a duration that is not finite.
    """
    if not series.n or not np.isfinite(series.duration).all():
        return {"edges": [], "counts": []}
    top = min(float(series.duration.max()), TAIL_GROWTH * float(np.quantile(series.duration, 0.99)))
    low = float(series.duration.min())
    if top <= low:
        top = low * (1 + 1e-6) or 1e-9
    counts, edges = np.histogram(np.minimum(series.duration, top), bins=bins, range=(low, top))
    return {"edges": [float(edge) for edge in edges], "counts": [int(count) for count in counts]}
