"""Judge whether a run is worse than earlier runs, by one value per run. No check passes without a valid baseline."""

from __future__ import annotations

import math
import statistics
from typing import TYPE_CHECKING

from hil.baseline import why_clocks_differ
from hil.checks.fitness import MeasuredRow, Rules, fit, missing
from hil.checks.verdicts import hold, inconclusive, judged
from hil.results import Judgement, Limit, Measurement, Verdict
from hil.stats.control_difference import ControlDifference, control_difference, why_confounded
from hil.stats.power import CAP, runs_needed
from hil.stats.runs import FEWEST, Change, Comparison, compare_runs, judge_change
from hil.stats.session_noise import sd_and_df
from hil.units import show

if TYPE_CHECKING:
    from typing import Any

    from hil.baseline import Baseline, Level

__all__ = ["MeasuredRow", "Rules", "by_runs", "exactly", "missing"]

UNKNOWN_NOISE = (
    "with one session on each side, a change of the code cannot be distinguished from a change of the machine, and the "
    "noise between sessions of this target is not known"
)
SEE_ROW = "see the row of the compared check"

Sides = tuple[tuple[tuple[float, ...], ...], tuple[tuple[float, ...], ...]]
"""The run values of the baseline and of this run, one tuple per session."""


def by_runs(baseline: Baseline | None, row: MeasuredRow, limit: Limit | None, rules: Rules) -> Judgement:
    """Judge the relative worsening of a value with noise (latency, frame rate, memory) by Welch's test on run values.

    Failed if a significant worsening exceeds ``rules.above``. Passed if the interval excludes ``rules.exclude`` (also
    the value of ``limit``), or if the value improved significantly by more than ``rules.above``. Otherwise
    inconclusive, also if the control changed or the machine's clocks differ. If the noise between sessions is unknown,
    the row never fails.
    """
    level = fit(baseline, row, limit, rules)
    if isinstance(level, Judgement):
        return level
    sides: Sides = (tuple(session for session in level.sessions if session), (_values(row),))
    if not all(0 < value < math.inf for side in sides for session in side for value in session):
        return inconclusive(f"a value is not positive and finite, so there is no ratio: {SEE_ROW}", limit)
    control = _control_difference(level, row)
    if why := _why_machine(level, row, control, rules):
        return inconclusive(f"confounded: {why}", limit)
    alpha = (1 - rules.confidence) / max(1, rules.rows)
    noise, df = sd_and_df(level.noise)
    wide, strict = (
        compare_runs(*sides, confidence=confidence, noise=noise, noise_df=df, above=rules.above)
        for confidence in (rules.confidence, 1 - alpha)
    )
    above = rules.above if control is None else control.beyond(rules.above)
    change = judge_change(wide, above=above, exclude=rules.exclude, lower_is_better=rules.lower_is_better, alpha=alpha)
    measurement = _worsening(wide, lower=rules.lower_is_better)
    verdict = {Change.WORSE: Verdict.FAILED, Change.UNCLEAR: Verdict.INCONCLUSIVE}.get(change, Verdict.PASSED)
    details = {
        "values": sides[1][0],
        "p": wide.p,
        "dealt": wide.permutation_p,
        "alpha": alpha,
        "visible": strict.visible,
        "noise": wide.noise,
        "control": None if control is None else control.as_dict(),
    }
    if change is Change.UNCLEAR and not _is_unknown_noise(strict, rules):
        details["runs_needed"] = _needed(level, strict, rules, sides)
    reason = f"{_size(measurement)} than {_named(baseline, level)}: {_why(change, level, strict, rules, sides)}"
    return judged(verdict, reason, measurement, limit, {**_about(baseline, level, rules), **details})


def _why_machine(level: Level, row: MeasuredRow, control: ControlDifference | None, rules: Rules) -> str:
    """Return why the machine may have caused a change: the control changed or the clocks differ; empty if neither."""
    names = ("the baseline", "this run")
    if control is not None and (why := why_confounded(control, rules.exclude, *names)):
        return why
    return why_clocks_differ(level.clocks, [row.clocks], names) if _same_setting(level, row) else ""


def _same_setting(level: Level, row: MeasuredRow) -> bool:
    return set(level.settings) == {row.setting}


def _control_difference(level: Level, row: MeasuredRow) -> ControlDifference | None:
    """Return the difference between the controls of both sides; ``None`` if they cannot be compared."""
    if not _same_setting(level, row) or row.judgement.measurement is None:
        return None
    return control_difference(level.controls, [row.judgement.measurement.control])


def exactly(
    baseline: Baseline | None, row: MeasuredRow, limit: Limit | None, rules: Rules, *, difference: bool = False
) -> Judgement:
    """Judge the worsening of a value without noise (an engine's size, a loss on the same data) from the earlier median.

    With ``difference``, the worsening is absolute, else relative to the median. Inconclusive if the earlier runs differ
    by more than ``rules.above``, which is also the value of ``limit``.
    """
    level = fit(baseline, row, limit, rules, exact=True)
    if isinstance(level, Judgement):
        return level
    then = [value for session in level.sessions for value in session]
    now = math.nan if row.judgement.measurement is None else row.judgement.measurement.value
    if not all(map(math.isfinite, (now, *then))) or not (difference or min(now, *then) > 0):
        return inconclusive(f"a value is not finite, or not positive, so it cannot be compared: {SEE_ROW}", limit)
    middle = statistics.median(then)
    scale = 1.0 if difference else middle
    spread = (max(then) - min(then)) / scale
    if spread > rules.above:
        what = f"the baseline's own runs differ by {show(spread, '1')}"
        return inconclusive(f"{what}: choose one of {', '.join(level.runs[:3])} with --hil-baseline", limit)
    worse = (now - middle) / scale if rules.lower_is_better else (middle - now) / scale
    # Rounded so that 5 of 500 are 1 %, not 1.0000000000000009 %.
    measurement = Measurement(value=round(worse, 12), unit="1", n=1)
    judgement = hold(measurement, limit, _about(baseline, level, rules))
    accept = "; if it is intended: hil accept --help" if judgement.verdict is Verdict.FAILED else ""
    return judgement.model_copy(
        update={"reason": f"{_size(measurement)} than {_named(baseline, level)}, exact: {judgement.reason}{accept}"}
    )


def _values(row: MeasuredRow) -> tuple[float, ...]:
    measurement = row.judgement.measurement
    return () if measurement is None else measurement.runs or (measurement.value,)


def _worsening(change: Comparison, *, lower: bool) -> Measurement:
    """Return the relative worsening, negative for an improvement, with its interval if the spread is known."""
    low, high = (change.low - 1, change.high - 1) if lower else (1 - change.high, 1 - change.low)
    known = change.high < math.inf
    return Measurement(
        value=change.ratio - 1 if lower else 1 - change.ratio,
        unit="1",
        low=low if known else None,
        high=high if known else None,
        confidence=change.confidence,
        n=change.runs[1],
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
    """Return the end of the reason: the rule that decided, and the change that could have been detected."""
    sure = f"{rules.confidence * 100:g} %"
    over = f"{sure} for all {rules.rows} rows together" if rules.rows > 1 else sure
    known = strict.visible < math.inf
    visible = f"would have detected a change of {strict.visible * 100:.3g} % in 90 % of cases" if known else ""
    if change is Change.WORSE:
        return f"more than {rules.above * 100:.3g} %, at {over}; if it is intended: hil accept --help"
    if change is Change.BETTER:
        return f"a gain of more than {rules.above * 100:.3g} %, at {over}"
    if change is Change.SAME:
        return f"{rules.exclude * 100:.3g} % worse is excluded at {sure}{f'; {visible}' if visible else ''}"
    return _why_unclear(level, strict, rules, sides, visible or "no change could be detected")


def _why_unclear(level: Level, strict: Comparison, rules: Rules, sides: Sides, visible: str) -> str:
    """Return why there is no verdict, and what would settle it. ``visible`` is the detectable change as text."""
    if strict.runs[1] < FEWEST:
        return f"this run has {strict.runs[1]} run values, {FEWEST} are needed: run with --hil-runs={FEWEST}"
    if strict.runs[0] < FEWEST:
        return f"the baseline has {strict.runs[0]} run values, {FEWEST} are needed: make another: {rules.again}"
    if _is_unknown_noise(strict, rules):
        return f"{UNKNOWN_NOISE}: run hil board calibrate, or name a baseline of {FEWEST} sessions or more"
    needed = _needed(level, strict, rules, sides)
    none = f"more than {CAP} runs would be needed: stop other load on the target, or widen limits.regression"
    more = none if needed is None else f"about {needed} runs on each side would settle it: --hil-runs"
    return f"neither a change nor its absence is settled: {visible}; {more}"


def _is_unknown_noise(strict: Comparison, rules: Rules) -> bool:
    """Return whether only the unknown noise between sessions prevents a verdict."""
    alpha = (1 - rules.confidence) / max(1, rules.rows)
    return min(strict.runs) >= FEWEST and strict.noise is None and strict.p <= alpha


def _needed(level: Level, strict: Comparison, rules: Rules, sides: Sides) -> int | None:
    """Return how many runs on each side would decide the verdict; ``None`` if more than ``CAP``."""
    if min(strict.runs) < FEWEST:
        return FEWEST
    _, df = sd_and_df(level.noise)
    needed = runs_needed(
        _spread(sides), rules.exclude, confidence=strict.confidence, noise=strict.noise or 0.0, noise_df=df
    )
    return None if needed is None else max(needed, max(strict.runs) + 1)


def _spread(sides: Sides) -> float:
    """Return the relative standard deviation of runs, pooled over both sides."""
    logs = [[math.log(value) for session in side for value in session] for side in sides]
    free = sum(len(side) - 1 for side in logs)
    return math.sqrt(sum(statistics.variance(side) * (len(side) - 1) for side in logs if len(side) > 1) / max(1, free))


def _about(baseline: Baseline | None, level: Level, rules: Rules) -> dict[str, Any]:
    """Return the details of the comparison for the report."""
    origin = {"ref": baseline.ref if baseline else None, "runs": level.runs, "newest": level.newest}
    then = {**origin, "values": level.sessions, "accepted": level.accepted}
    return {"baseline": then, "of": level.check, "above": rules.above, "exclude": rules.exclude, "rows": rules.rows}
