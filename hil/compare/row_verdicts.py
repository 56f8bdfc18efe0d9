"""Judge the rows of a comparison: noisy values statistically, from the values of several runs, other values exactly.

The p-values of all noisy rows are adjusted (Holm), so that more rows do not give more false alarms. "Not worse" needs
no adjustment: it requires every row's interval to exclude a worsening (intersection-union test: Berger, R. L., 1982,
Technometrics 24(4), 295-300).
"""

from __future__ import annotations

import math
import statistics
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

from hil.compare.accepted_levels import Level, with_acceptance
from hil.compare.compared_checks import Measure, Scale, measure_of
from hil.compare.exact_values import judge_exact
from hil.compare.methods import method_mismatch
from hil.compare.schema import Row, Settings, Status
from hil.compare.sides import sessions
from hil.results import Sense, Verdict
from hil.stats.multiplicity import adjusted
from hil.stats.power import CAP, runs_needed
from hil.stats.runs import FEWEST, Change, Comparison, compare_runs, judge_change

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from hil.compare.sides import Facts, Pair
    from hil.history import Noise, Point

STATUS = {
    Change.WORSE: Status.WORSE,
    Change.BETTER: Status.BETTER,
    Change.SAME: Status.SAME,
    Change.UNCLEAR: Status.UNCLEAR,
}
MORE_RUNS = f"pytest --hil-runs={FEWEST}"
BUILD = "build.seconds"
ONE_RUN = f"one run per side does not show the spread: {MORE_RUNS}"
UNKNOWN_NOISE = "; the noise between sessions is unknown: hil board calibrate TARGET"


@dataclass(frozen=True)
class Known:
    """What is known in a comparison besides its points: settings, methods, noise and accepted levels.

    ``confounded`` is why different machines may be the cause of a change; ``None`` if they cannot be. ``machines`` are
    the machines of the candidate's runs, by run id.
    """

    settings: Settings
    methods: Mapping[str, Facts]
    confounded: str | None = None
    noise: Callable[[Point], Noise | None] | None = None
    levels: Sequence[Level] = ()
    machines: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class _PendingRow:
    """A row that may still need its verdict.

    ``comparison`` has the p-value that must be adjusted before; ``None`` if the row has its verdict.
    """

    pair: Pair
    measure: Measure
    row: Row
    comparison: Comparison | None = None
    sd: float | None = None


def judge_pairs(pairs: Sequence[Pair], known: Known) -> tuple[Row, ...]:
    """Return one judged row, with status and reason, for each pair."""
    pending = [_pending_row(pair, known) for pair in pairs]
    p_values = iter(adjusted([each.comparison.p for each in pending if each.comparison is not None]))
    rows = (
        each.row if each.comparison is None else _final_row(each, each.comparison, next(p_values), known)
        for each in pending
    )
    return tuple(
        _guarded(
            each.pair,
            with_acceptance(row, each.pair, known.levels, known.machines, _status_against(each.pair, known)),
            known,
        )
        for each, row in zip(pending, rows, strict=True)
    )


def _status_against(pair: Pair, known: Known) -> Callable[[Point], Status]:
    """Return a function that judges the candidate against a given point instead of the base."""

    def against(level: Point) -> Status:
        alone = replace(known, levels=(), confounded=None)
        return judge_pairs([replace(pair, base=(level,))], alone)[0].status

    return against


def _pending_row(pair: Pair, known: Known) -> _PendingRow:
    measure = measure_of(pair.key[0])
    row = _unjudged_row(pair, measure)
    if not pair.base or not pair.cand:
        present, lacking = ("base", "candidate") if pair.base else ("candidate", "base")
        reason = f"measured only in the {present}: run the same suites for the {lacking}"
        status = Status.TOLD if measure.scale is Scale.TOLD else Status.MISSING
        return _PendingRow(pair, measure, _with_status(row, status, reason))
    units = {point.unit for point in (*pair.base, *pair.cand)}
    if len(units) > 1:
        reason = f"in different units: {', '.join(sorted(units))}"
        return _PendingRow(pair, measure, _with_status(row, Status.REFUSED, reason))
    if measure.scale is Scale.TOLD:
        return _PendingRow(pair, measure, _with_status(row, Status.TOLD, "judged by limits within each run"))
    if measure.needs_method:
        ours, theirs = ([point.method for point in side] for side in (pair.base, pair.cand))
        why, fields = method_mismatch(ours, theirs, known.methods)
        if why:
            refused = {"status": Status.REFUSED, "reason": why, "differing": fields, "base": None, "cand": None}
            return _PendingRow(pair, measure, row.model_copy(update=refused))
    if measure.scale in {Scale.EXACT, Scale.LOSS}:
        return _PendingRow(pair, measure, judge_exact(row, pair, measure, known.settings))
    return _by_runs(pair, measure, row, known)


def _unjudged_row(pair: Pair, measure: Measure) -> Row:
    check, model, precision, scenario = pair.key
    sides = [sessions(_distinct(side)) for side in (pair.base, pair.cand)]
    medians = [statistics.median(value for run in side for value in run) if side else None for side in sides]
    return Row(
        check=check,
        model=model,
        precision=precision,
        scenario=scenario,
        unit=pair.unit,
        status=Status.UNCLEAR,
        reason="",
        counts=measure.counts,
        base=medians[0],
        cand=medians[1],
        runs=(sum(map(len, sides[0])), sum(map(len, sides[1]))),
        sessions=(len(sides[0]), len(sides[1])),
    )


def _distinct(points: Sequence[Point]) -> Sequence[Point]:
    """Return ``points``, but only one per engine if they are build times: a cached engine repeats its build time."""
    if points and points[0].check == BUILD:
        return list({point.engine: point for point in points}.values())
    return points


def _by_runs(pair: Pair, measure: Measure, row: Row, known: Known) -> _PendingRow:
    base, cand = (sessions(_distinct(side)) for side in (pair.base, pair.cand))
    values = [value for side in (base, cand) for run in side for value in run]
    if pair.key[0] == BUILD and {point.engine for point in pair.base} == {point.engine for point in pair.cand}:
        return _PendingRow(pair, measure, _with_status(row, Status.SAME, "both sides use the same engine, built once"))
    if min(row.runs) < 2:
        return _PendingRow(pair, measure, _with_status(row, Status.UNCLEAR, ONE_RUN, **_effect(row)))
    if not all(math.isfinite(value) and value > 0 for value in values):
        if len(set(values)) == 1:
            return _PendingRow(pair, measure, _with_status(row, Status.SAME, "the same value in every run", effect=0.0))
        reason = "a value is not positive and finite, so there is no ratio"
        return _PendingRow(pair, measure, _with_status(row, Status.UNCLEAR, reason))
    calibrated = known.noise(pair.cand[0]) if known.noise is not None else None
    noise = None if calibrated is None else calibrated.sd
    settings = known.settings
    comparison = compare_runs(base, cand, confidence=settings.confidence, noise=noise, above=settings.above)
    return _PendingRow(pair, measure, row, comparison, _spread(base, cand))


def _spread(base: list[list[float]], cand: list[list[float]]) -> float:
    """Return the relative standard deviation between the runs of a side, pooled over both sides."""
    logs = [[math.log(value) for run in side for value in run] for side in (base, cand)]
    degrees_of_freedom = sum(len(side) - 1 for side in logs)
    return math.sqrt(sum(statistics.variance(side) * (len(side) - 1) for side in logs) / degrees_of_freedom)


def _final_row(pending: _PendingRow, comparison: Comparison, p: float, known: Known) -> Row:
    settings, measure = known.settings, pending.measure
    alpha = 1 - settings.confidence
    rule: dict[str, Any] = {"above": settings.above, "exclude": settings.exclude, "alpha": alpha}
    lower = measure.sense is not Sense.AT_LEAST
    with_p = replace(comparison, p=p)
    change = judge_change(with_p, lower_is_better=lower, **rule)
    row = pending.row.model_copy(
        update={
            "effect": _finite(comparison.ratio - 1),
            "low": _finite(comparison.low - 1),
            "high": _finite(comparison.high - 1),
            "p": _finite(p),
            "visible": _finite(comparison.visible),
            "noise": comparison.noise,
        }
    )
    if measure.sense is None:
        other = judge_change(with_p, lower_is_better=not lower, **rule)
        if change is not Change.SAME or other is not Change.SAME:
            reason = "it changed or may have changed, and neither direction is better: see the test of this check"
            return _with_status(row, Status.UNCLEAR, reason)
    return _with_status(row, STATUS[change], _reason(STATUS[change], pending, comparison, settings))


def _reason(status: Status, pending: _PendingRow, comparison: Comparison, settings: Settings) -> str:
    level = f"{settings.confidence * 100:g} %"
    unknown = UNKNOWN_NOISE if comparison.noise is None else ""
    if status is Status.SAME:
        return f"a worsening of {settings.exclude * 100:.3g} % or more is excluded at {level}{unknown}"
    if status in {Status.WORSE, Status.BETTER}:
        return f"by more than {settings.above * 100:.3g} %, significant at {level} over all rows{unknown}"
    if min(comparison.runs) < FEWEST:
        few = f"{min(comparison.runs)} runs per side are too few to detect a change"
        return f"{few}: {MORE_RUNS}{unknown}"
    power = f"only a change of {comparison.visible * 100:.2g} % or more would have been detected with 90 % power"
    if not math.isfinite(comparison.visible):
        power = "no change of any size could have been detected"
    return f"neither a change nor its absence is settled: {power}; {_runs_advice(pending, comparison, settings)}"


def _runs_advice(pending: _PendingRow, comparison: Comparison, settings: Settings) -> str:
    """Return the advice on how many runs per side would decide the row, computed from its spread."""
    sd, confidence = pending.sd or 0.0, settings.confidence
    noise = comparison.noise or 0.0
    needed = runs_needed(sd, settings.exclude, confidence=confidence, above=settings.above, noise=noise)
    if needed is None:
        return f"even {CAP} runs per side would not be enough: reduce the machine's noise"
    return f"about {max(needed, min(comparison.runs) + 1)} runs per side would be enough: pytest --hil-runs=N"


def _guarded(pair: Pair, row: Row, known: Known) -> Row:
    """Return ``row``, made confounded or unclear if its verdict cannot be trusted.

    Confounded: different machines may be the cause. Unclear: it would pass, but was inconclusive in one of the runs.
    """
    if row.status in {Status.MISSING, Status.REFUSED, Status.TOLD}:
        return row
    if known.confounded is not None:
        return _with_status(row, Status.CONFOUNDED, known.confounded)
    inconclusive = [point.run.id for point in (*pair.base, *pair.cand) if point.verdict == Verdict.INCONCLUSIVE.value]
    if inconclusive and row.status in {Status.SAME, Status.BETTER, Status.ACCEPTED}:
        reason = f"it was inconclusive in run {inconclusive[0]} itself, which may hide a change: run that side again"
        return _with_status(row, Status.UNCLEAR, reason)
    return row


def _with_status(row: Row, status: Status, reason: str, **more: Any) -> Row:
    return row.model_copy(update={"status": status, "reason": reason, **more})


def _effect(row: Row) -> dict[str, Any]:
    if row.base is None or row.cand is None or row.base <= 0:
        return {}
    return {"effect": row.cand / row.base - 1}


def _finite(value: float) -> float | None:
    return value if math.isfinite(value) else None
