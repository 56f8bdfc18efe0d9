"""Regressions: a run beside earlier ones. Between runs the run is the unit; without a fit baseline nothing passes."""

from __future__ import annotations

import math
import statistics
from typing import TYPE_CHECKING

from hil.checks.fitness import Rules, Seen, fit, missing
from hil.checks.verdicts import hold, inconclusive, judged
from hil.results import Judgement, Limit, Measurement, Verdict
from hil.stats.power import CAP, runs_needed
from hil.stats.runs import FEWEST, Change, Comparison, compare_runs, judge_change
from hil.units import show

if TYPE_CHECKING:
    from typing import Any

    from hil.baseline import Baseline, Level

__all__ = ["Rules", "Seen", "by_runs", "exactly", "missing"]

Sides = tuple[tuple[tuple[float, ...], ...], tuple[tuple[float, ...], ...]]
"""Run values of the baseline and of this run, those of one session together."""


def by_runs(baseline: Baseline | None, seen: Seen, limit: Limit | None, rules: Rules) -> Judgement:
    """Noisy values (latency, frame rate, memory): Welch's test on run values, sessions as blocks.

    Failed if significant over all planned rows and worse by more than ``above``; passed if the interval excludes a
    worsening by ``exclude``, or if it got better; else inconclusive, with what could have been seen and how many runs
    it would take. ``limit`` holds ``exclude``. The measurement is the relative worsening, negative where it got better.
    That nothing got worse is claimed by each row's own interval, without adjustment (an intersection-union test).
    """
    found = fit(baseline, seen, limit, rules)
    if isinstance(found, Judgement):
        return found
    sides: Sides = (tuple(session for session in found.sessions if session), (_values(seen),))
    if not all(0 < value < math.inf for side in sides for session in side for value in session):
        return inconclusive("a value that is not positive and finite has no ratio: see the row itself", limit)
    alpha = (1 - rules.confidence) / max(1, rules.rows)
    wide, strict = (
        compare_runs(*sides, confidence=level, noise=found.noise, above=rules.above)
        for level in (rules.confidence, 1 - alpha)
    )
    change = judge_change(
        wide, above=rules.above, exclude=rules.exclude, lower_is_better=rules.lower_is_better, alpha=alpha
    )
    measurement = _worsening(wide, lower=rules.lower_is_better)
    verdict = {Change.WORSE: Verdict.FAILED, Change.UNCLEAR: Verdict.INCONCLUSIVE}.get(change, Verdict.PASSED)
    told = {
        "values": sides[1][0],
        "p": wide.p,
        "dealt": wide.dealt,
        "alpha": alpha,
        "visible": strict.visible,
        "noise": found.noise,
    }
    if change is Change.UNCLEAR:
        told["runs_needed"] = _needed(found, strict, rules, sides)
    reason = f"{_size(measurement)} than {_named(baseline, found)}: {_why(change, found, strict, rules, sides)}"
    return judged(verdict, reason, measurement, limit, {**_about(baseline, found, rules), **told})


def exactly(
    baseline: Baseline | None, seen: Seen, limit: Limit | None, rules: Rules, *, difference: bool = False
) -> Judgement:
    """Values without noise (an engine's size, what is lost on the same data), held against ``limit``: ``above``.

    ``difference`` is for a loss, which is a share of a whole already; else the change is relative. Earlier runs that
    differ among themselves by more than ``above`` settle nothing.
    """
    found = fit(baseline, seen, limit, rules, exact=True)
    if isinstance(found, Judgement):
        return found
    then = [value for session in found.sessions for value in session]
    now = math.nan if seen.judgement.measurement is None else seen.judgement.measurement.value
    if not all(map(math.isfinite, (now, *then))) or not (difference or min(now, *then) > 0):
        return inconclusive("not a value that can be compared: see the row itself", limit)
    middle = statistics.median(then)
    scale = 1.0 if difference else middle
    spread = (max(then) - min(then)) / scale
    if spread > rules.above:
        what = f"the baseline's own runs differ by {show(spread, '1')}"
        return inconclusive(f"{what}: choose one of {', '.join(found.runs[:3])} with --hil-baseline", limit)
    worse = (now - middle) / scale if rules.lower_is_better else (middle - now) / scale
    # 5 of 500 are 1 %, not 1.0000000000000009 %.
    measurement = Measurement(value=round(worse, 12), unit="1", n=1)
    judgement = hold(measurement, limit, _about(baseline, found, rules))
    accept = "; if it is meant: hil accept --help" if judgement.verdict is Verdict.FAILED else ""
    return judgement.model_copy(
        update={"reason": f"{_size(measurement)} than {_named(baseline, found)}, exact: {judgement.reason}{accept}"}
    )


def _values(seen: Seen) -> tuple[float, ...]:
    measurement = seen.judgement.measurement
    return () if measurement is None else measurement.runs or (measurement.value,)


def _worsening(seen: Comparison, *, lower: bool) -> Measurement:
    """The relative worsening with its interval; an open side is none."""
    low, high = (seen.low - 1, seen.high - 1) if lower else (1 - seen.high, 1 - seen.low)
    known = seen.high < math.inf
    return Measurement(
        value=seen.ratio - 1 if lower else 1 - seen.ratio,
        unit="1",
        low=low if known else None,
        high=high if known else None,
        confidence=seen.confidence,
        n=seen.runs[1],
    )


def _size(measurement: Measurement) -> str:
    word = "worse" if measurement.value >= 0 else "better"
    shown = f"{abs(measurement.value) * 100:.3g} % {word}" if measurement.value else "no worse"
    if measurement.low is None or measurement.high is None:
        return shown
    return f"{shown} (from {measurement.low * 100:+.3g} % to {measurement.high * 100:+.3g} %)"


def _named(baseline: Baseline | None, level: Level) -> str:
    ref = baseline.ref if baseline else ""
    accepted = f", a level accepted {level.accepted}" if level.accepted else ""
    return f"{ref} ({', '.join(level.runs[:2])}{'…' if level.runs[2:] else ''} of {level.newest[:10]}{accepted})"


def _why(change: Change, level: Level, strict: Comparison, rules: Rules, sides: Sides) -> str:
    """What ends the reason: the rule that decided, and what could have been seen."""
    sure = f"{rules.confidence * 100:g} %"
    over = f"{sure} over {rules.rows} rows" if rules.rows > 1 else sure
    visible = f"could have seen {strict.visible * 100:.3g} % with 90 %" if strict.visible < math.inf else ""
    if change is Change.WORSE:
        return f"more than {rules.above * 100:.3g} %, at {over}; if it is meant: hil accept --help"
    if change is Change.BETTER:
        return f"a gain of more than {rules.above * 100:.3g} %, at {over}"
    if change is Change.SAME:
        return f"{rules.exclude * 100:.3g} % worse is excluded at {sure}{f'; {visible}' if visible else ''}"
    if strict.runs[1] < FEWEST:
        return f"this run has {strict.runs[1]} run values, {FEWEST} are needed: run with --hil-runs={FEWEST}"
    if strict.runs[0] < FEWEST:
        return f"the baseline has {strict.runs[0]} run values, {FEWEST} are needed: make another: {rules.again}"
    needed = _needed(level, strict, rules, sides)
    none = f"no number of runs up to {CAP} would do: calm the target, or widen limits.regression"
    more = none if needed is None else f"about {needed} runs a side would do: --hil-runs"
    return f"neither a change nor its absence is settled: {visible or 'could have seen none'}; {more}"


def _needed(level: Level, strict: Comparison, rules: Rules, sides: Sides) -> int | None:
    """How many runs a side would settle it; None if not as many as anybody takes."""
    if min(strict.runs) < FEWEST:
        return FEWEST
    needed = runs_needed(_spread(sides), rules.exclude, confidence=strict.confidence, noise=level.noise or 0.0)
    return None if needed is None else max(needed, max(strict.runs) + 1)


def _spread(sides: Sides) -> float:
    """The relative standard deviation of runs, pooled over both sides."""
    logs = [[math.log(value) for session in side for value in session] for side in sides]
    free = sum(len(side) - 1 for side in logs)
    return math.sqrt(sum(statistics.variance(side) * (len(side) - 1) for side in logs if len(side) > 1) / max(1, free))


def _about(baseline: Baseline | None, level: Level, rules: Rules) -> dict[str, Any]:
    """What the report keeps of the comparison."""
    told = {"ref": baseline.ref if baseline else None, "runs": level.runs, "newest": level.newest}
    then = {**told, "values": level.sessions, "accepted": level.accepted}
    return {"baseline": then, "of": level.check, "above": rules.above, "exclude": rules.exclude, "rows": rules.rows}
