"""Pairs in, judged rows out: by runs where values are noisy, exactly where they are not, all of them held together.

Over all rows of a comparison that are judged by runs, p is adjusted (Holm), so that twenty rows cry wolf no more often
than one. That nothing got worse is claimed only where every row's own interval says so, which needs no adjustment
(an intersection-union test: Berger, R. L., 1982, Technometrics 24(4), 295-300).
"""

from __future__ import annotations

import math
import statistics
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

from hil.compare.accepted_levels import Level, held_against
from hil.compare.compared_checks import Measure, Scale, measure_of
from hil.compare.exact_values import exactly
from hil.compare.methods import unlike
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
ONE_RUN = f"1 run a side says nothing about the spread: {MORE_RUNS}"
UNKNOWN_NOISE = "; the noise between sessions is not known: hil board calibrate TARGET"


@dataclass(frozen=True)
class Known:
    """What a comparison knows beside the points: settings, facts of methods, confounding, noise, acceptances.

    ``machines`` are the candidate's, by the ids of its runs, as ``hil.baseline.machine`` names them.
    """

    settings: Settings
    methods: Mapping[str, Facts]
    confounded: str | None = None
    noise: Callable[[Point], Noise | None] | None = None
    levels: Sequence[Level] = ()
    machines: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class _Open:
    """A row that waits for the others: its p is adjusted among theirs."""

    pair: Pair
    measure: Measure
    row: Row
    seen: Comparison | None = None
    sd: float | None = None


def judged(pairs: Sequence[Pair], known: Known) -> tuple[Row, ...]:
    """Every pair as a row with its status and reason."""
    opened = [_opened(pair, known) for pair in pairs]
    waiting = [each.seen.p for each in opened if each.seen is not None]
    spread = iter(adjusted(waiting))
    rows = (each.row if each.seen is None else _closed(each, each.seen, next(spread), known) for each in opened)
    return tuple(
        _guarded(each.pair, held_against(row, each.pair, known.levels, known.machines, _again(each.pair, known)), known)
        for each, row in zip(opened, rows, strict=True)
    )


def _again(pair: Pair, known: Known) -> Callable[[Point], Status]:
    """How the candidate stands against another point than the base's."""

    def against(level: Point) -> Status:
        alone = replace(known, levels=(), confounded=None)
        return judged([replace(pair, base=(level,))], alone)[0].status

    return against


def _opened(pair: Pair, known: Known) -> _Open:
    measure = measure_of(pair.key[0])
    row = _bare(pair, measure)
    if not pair.base or not pair.cand:
        where = "in the base" if pair.base else "in the candidate"
        lacks = "the candidate" if pair.base else "the base"
        reason = f"measured {where} alone: run the same suites for {lacks}"
        return _Open(pair, measure, _told(row, Status.TOLD if measure.scale is Scale.TOLD else Status.MISSING, reason))
    units = {point.unit for point in (*pair.base, *pair.cand)}
    if len(units) > 1:
        return _Open(pair, measure, _told(row, Status.REFUSED, f"in different units: {', '.join(sorted(units))}"))
    if measure.scale is Scale.TOLD:
        return _Open(pair, measure, _told(row, Status.TOLD, "held against limits within each run"))
    if measure.needs_method:
        ours, theirs = ([point.method for point in side] for side in (pair.base, pair.cand))
        why, fields = unlike(ours, theirs, known.methods)
        if why:
            refused = {"status": Status.REFUSED, "reason": why, "differing": fields, "base": None, "cand": None}
            return _Open(pair, measure, row.model_copy(update=refused))
    if measure.scale in {Scale.EXACT, Scale.LOSS}:
        return _Open(pair, measure, exactly(row, pair, measure, known.settings))
    return _by_runs(pair, measure, row, known)


def _bare(pair: Pair, measure: Measure) -> Row:
    check, model, precision, scenario = pair.key
    sides = [sessions(_distinct(side)) for side in (pair.base, pair.cand)]
    middles = [statistics.median(value for run in side for value in run) if side else None for side in sides]
    return Row(
        check=check,
        model=model,
        precision=precision,
        scenario=scenario,
        unit=pair.unit,
        status=Status.UNCLEAR,
        reason="",
        counts=measure.counts,
        base=middles[0],
        cand=middles[1],
        runs=(sum(map(len, sides[0])), sum(map(len, sides[1]))),
        sessions=(len(sides[0]), len(sides[1])),
    )


def _distinct(points: Sequence[Point]) -> Sequence[Point]:
    """Of an engine out of a cache every run tells the one build again: each build once."""
    if points and points[0].check == BUILD:
        return list({point.engine: point for point in points}.values())
    return points


def _by_runs(pair: Pair, measure: Measure, row: Row, known: Known) -> _Open:
    base, cand = (sessions(_distinct(side)) for side in (pair.base, pair.cand))
    values = [value for side in (base, cand) for run in side for value in run]
    if pair.key[0] == BUILD and {point.engine for point in pair.base} == {point.engine for point in pair.cand}:
        return _Open(pair, measure, _told(row, Status.SAME, "the same engine: there was no other build"))
    if min(row.runs) < 2:
        return _Open(pair, measure, _told(row, Status.UNCLEAR, ONE_RUN, **_effect(row)))
    if not all(math.isfinite(value) and value > 0 for value in values):
        if len(set(values)) == 1:
            return _Open(pair, measure, _told(row, Status.SAME, "the same value in every run", effect=0.0))
        return _Open(pair, measure, _told(row, Status.UNCLEAR, "a value of zero or less has no ratio"))
    learned = known.noise(pair.cand[0]) if known.noise is not None else None
    noise = None if learned is None else learned.sd
    settings = known.settings
    seen = compare_runs(base, cand, confidence=settings.confidence, noise=noise, above=settings.above)
    return _Open(pair, measure, row, seen, _spread(base, cand))


def _spread(base: list[list[float]], cand: list[list[float]]) -> float:
    """The relative standard deviation between the runs of a side, pooled over both."""
    logs = [[math.log(value) for run in side for value in run] for side in (base, cand)]
    free = sum(len(side) - 1 for side in logs)
    return math.sqrt(sum(statistics.variance(side) * (len(side) - 1) for side in logs) / free)


def _closed(waiting: _Open, seen: Comparison, p: float, known: Known) -> Row:
    settings, measure = known.settings, waiting.measure
    alpha = 1 - settings.confidence
    rule: dict[str, Any] = {"above": settings.above, "exclude": settings.exclude, "alpha": alpha}
    lower = measure.sense is not Sense.AT_LEAST
    held = replace(seen, p=p)
    change = judge_change(held, lower_is_better=lower, **rule)
    row = waiting.row.model_copy(
        update={
            "effect": _known(seen.ratio - 1),
            "low": _known(seen.low - 1),
            "high": _known(seen.high - 1),
            "p": _known(p),
            "visible": _known(seen.visible),
            "noise": seen.noise,
        }
    )
    if measure.sense is None:
        other = judge_change(held, lower_is_better=not lower, **rule)
        if change is not Change.SAME or other is not Change.SAME:
            reason = "changed or not settled, and nothing says which way is good: see the test that made this check"
            return _told(row, Status.UNCLEAR, reason)
    return _told(row, STATUS[change], _why(STATUS[change], waiting, seen, settings))


def _why(status: Status, waiting: _Open, seen: Comparison, settings: Settings) -> str:
    sure = f"{settings.confidence * 100:g} %"
    unknown = UNKNOWN_NOISE if seen.noise is None else ""
    if status is Status.SAME:
        return f"a worsening of {settings.exclude * 100:.3g} % or more is excluded at {sure}{unknown}"
    if status in {Status.WORSE, Status.BETTER}:
        return f"by more than {settings.above * 100:.3g} %, at {sure} over all rows{unknown}"
    if min(seen.runs) < FEWEST:
        few = f"{min(seen.runs)} runs a side are too few to call a change"
        return f"{few}: {MORE_RUNS}{unknown}"
    saw = f"{seen.visible * 100:.2g} %" if math.isfinite(seen.visible) else "no change at all"
    more = _more(waiting, seen, settings)
    return f"neither a change nor its absence is settled: could have seen {saw} with 90 %; {more}"


def _more(waiting: _Open, seen: Comparison, settings: Settings) -> str:
    """How many runs a side would settle the row, by what is known of its spread."""
    sd, sure = waiting.sd or 0.0, settings.confidence
    needed = runs_needed(sd, settings.exclude, confidence=sure, above=settings.above, noise=seen.noise or 0.0)
    if needed is None:
        return f"{CAP} runs a side would not do: quieten the machine"
    return f"about {max(needed, min(seen.runs) + 1)} runs a side would do: pytest --hil-runs=N"


def _guarded(pair: Pair, row: Row, known: Known) -> Row:
    """What no good news may be made of: another machine, or a run that itself could not say."""
    if row.status in {Status.MISSING, Status.REFUSED, Status.TOLD}:
        return row
    if known.confounded is not None:
        return _told(row, Status.CONFOUNDED, known.confounded)
    doubtful = [point.run.id for point in (*pair.base, *pair.cand) if point.verdict == Verdict.INCONCLUSIVE.value]
    if doubtful and row.status in {Status.SAME, Status.BETTER, Status.ACCEPTED}:
        reason = f"it was inconclusive in run {doubtful[0]} itself, which may hide a change: run that side again"
        return _told(row, Status.UNCLEAR, reason)
    return row


def _told(row: Row, status: Status, reason: str, **more: Any) -> Row:
    return row.model_copy(update={"status": status, "reason": reason, **more})


def _effect(row: Row) -> dict[str, Any]:
    if row.base is None or row.cand is None or row.base <= 0:
        return {}
    return {"effect": row.cand / row.base - 1}


def _known(value: float) -> float | None:
    return value if math.isfinite(value) else None
