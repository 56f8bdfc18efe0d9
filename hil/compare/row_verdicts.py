"""Judge the rows of a comparison: noisy values statistically over several runs, other values exactly.

The p-values of all noisy rows are adjusted (Holm), so that more rows do not give more false alarms.
"""

from __future__ import annotations

import math
import statistics
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

from hil.compare.accepted_levels import Level, with_acceptance
from hil.compare.asked_rows import asked_by, regression_rows, settled_by_limit
from hil.compare.compared_checks import Measure, Scale, measure_of
from hil.compare.control import difference_of, why_disturbed
from hil.compare.exact_values import judge_exact
from hil.compare.methods import method_mismatch
from hil.compare.reasons import ONE_RUN, Measured, reason_of
from hil.compare.schema import Control, Row, Settings, Status
from hil.compare.sides import sessions
from hil.results import Sense, Verdict
from hil.stats.control_difference import why_confounded
from hil.stats.multiplicity import adjusted
from hil.stats.runs import Change, compare_runs, judge_change
from hil.stats.session_noise import sd_and_df

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from hil.compare.sides import Facts, Pair
    from hil.history import Point
    from hil.stats.session_noise import SessionNoise

STATUS = {
    Change.WORSE: Status.WORSE,
    Change.BETTER: Status.BETTER,
    Change.SAME: Status.SAME,
    Change.UNCLEAR: Status.UNCLEAR,
}
BUILD = "build.seconds"


@dataclass(frozen=True)
class Known:
    """What is known in a comparison besides its points: settings, methods, noise and accepted levels.

    ``methods`` and ``environments`` are by digest, ``names`` are those of the sides. ``confounded`` is the
    reason if different machines may be the cause of a change, else ``None``. ``machines`` are the names of the machines
    of the candidate's runs, by run id.
    """

    settings: Settings
    methods: Mapping[str, Facts]
    environments: Mapping[str, Facts] = field(default_factory=dict)
    names: tuple[str, str] = ("the base", "the candidate")
    confounded: str | None = None
    noise: Callable[[Pair], SessionNoise | None] | None = None
    levels: Sequence[Level] = ()
    machines: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class _PendingRow:
    """A row that may still lack its status.

    ``measured`` has the p-value before the adjustment; ``None`` if ``row`` has its status already.
    """

    pair: Pair
    measure: Measure
    row: Row
    measured: Measured | None = None


def judge_pairs(pairs: Sequence[Pair], known: Known) -> tuple[Row, ...]:
    """Return one judged row, with status and reason, for each pair."""
    regressions = regression_rows(pairs)
    pending = [_pending_row(pair, known) for pair in pairs]
    p_values = iter(adjusted([each.measured.comparison.p for each in pending if each.measured is not None]))
    rows = []
    for each in pending:
        row = each.row if each.measured is None else _final_row(each, each.measured, next(p_values), known)
        asked = None if row.status is Status.TOLD else asked_by(each.pair, known.settings, regressions)
        row = row.model_copy(update={"asked": asked, "counts": asked is not None})
        row = with_acceptance(row, each.pair, known.levels, known.machines, _status_against(each.pair, known))
        why = known.confounded or _why_machine(each, known)
        rows.append(settled_by_limit(_guarded(each.pair, row, why), each.pair))
    return tuple(rows)


def _status_against(pair: Pair, known: Known) -> Callable[[Point], Status]:
    """Return a function that judges the candidate against a given point instead of the base."""

    def against(level: Point) -> Status:
        alone = replace(known, levels=(), confounded=None)
        return judge_pairs([replace(pair, base=(level,))], alone)[0].status

    return against


def _pending_row(pair: Pair, known: Known) -> _PendingRow:
    measure = measure_of(pair.key[0])
    row = _unjudged_row(pair)
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


def _unjudged_row(pair: Pair) -> Row:
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
        base=medians[0],
        cand=medians[1],
        runs=(sum(map(len, sides[0])), sum(map(len, sides[1]))),
        sessions=(len(sides[0]), len(sides[1])),
    )


def _distinct(points: Sequence[Point]) -> Sequence[Point]:
    """Return ``points``; for build times, only one point per engine, since a cached engine repeats its build time."""
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
    noise = known.noise(pair) if known.noise is not None else None
    sd, df = sd_and_df(noise)
    settings = known.settings
    comparison = compare_runs(base, cand, confidence=settings.confidence, noise=sd, noise_df=df, above=settings.above)
    if comparison.sides is not None:  # the values whose quotient is the change, not the medians
        row = row.model_copy(update=dict(zip(("base", "cand"), comparison.sides, strict=True)))
    control = difference_of(pair, known.environments)
    if control is not None:
        row = row.model_copy(update={"control": Control(**control.as_dict())})
    measured = Measured(comparison, _spread(base, cand), row.sessions, pair.cand[0].run.target, noise, control)
    return _PendingRow(pair, measure, row, measured)


def _spread(base: list[list[float]], cand: list[list[float]]) -> float:
    """Return the relative standard deviation between the runs of a side, pooled over both sides."""
    logs = [[math.log(value) for run in side for value in run] for side in (base, cand)]
    degrees_of_freedom = sum(len(side) - 1 for side in logs)
    return math.sqrt(sum(statistics.variance(side) * (len(side) - 1) for side in logs) / degrees_of_freedom)


def _final_row(pending: _PendingRow, measured: Measured, p: float, known: Known) -> Row:
    settings, measure, comparison = known.settings, pending.measure, measured.comparison
    alpha = 1 - settings.confidence
    # A change must also exceed that of the control, which the noise between sessions may not include.
    above = settings.above if measured.control is None else measured.control.beyond(settings.above)
    rule: dict[str, Any] = {"above": above, "exclude": settings.exclude, "alpha": alpha}
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
            reason = "the value changed or may have changed, and no direction is better: see the test of this check"
            return _with_status(row, Status.UNCLEAR, reason)
    return _with_status(row, STATUS[change], reason_of(STATUS[change], measured, settings))


def _why_machine(pending: _PendingRow, known: Known) -> str:
    """Return why the control or the recorded state makes the machine a possible cause of a change; empty if neither."""
    if pending.measured is None:
        return ""
    control = pending.measured.control
    why = "" if control is None else why_confounded(control, known.settings.exclude, *known.names)
    return why or why_disturbed(pending.pair, known.environments, known.names)


def _guarded(pair: Pair, row: Row, confounded: str) -> Row:
    """Return ``row``; its status becomes confounded or unclear if its verdict cannot be trusted.

    ``confounded`` is the reason why the machine may be the cause, or empty. A row that would pass, but was inconclusive
    in one of the runs, is unclear.
    """
    if row.status in {Status.MISSING, Status.REFUSED, Status.TOLD}:
        return row
    if confounded:
        return _with_status(row, Status.CONFOUNDED, confounded)
    inconclusive = [point.run.id for point in (*pair.base, *pair.cand) if point.verdict == Verdict.INCONCLUSIVE.value]
    if inconclusive and row.status in {Status.SAME, Status.BETTER, Status.ACCEPTED}:
        reason = f"this row was inconclusive in run {inconclusive[0]}, which may hide a change: run that side again"
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
