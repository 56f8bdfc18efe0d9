"""Sustained: minutes of work back to back, judged at their end. The heat that the model makes is the model's own.

The last third of the time is judged, wherever the series became steady: which part counts is fixed before anything is
seen. A pass needs the thirds before it to keep the limit too, so that a board that throttles in turns is not passed
for the turn at the end.
"""

from __future__ import annotations

import math
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np

from hil.checks import fps, latency
from hil.checks.paced import longest
from hil.checks.verdicts import finite, hold, hold_interval, inconclusive
from hil.results import Judgement, Limit, Measurement, Sense, Verdict
from hil.series import FloatArray, Series, digest_of
from hil.stats import mean_interval
from hil.stats.steady import steadiness
from hil.units import show

if TYPE_CHECKING:
    from collections.abc import Callable

THIRDS = ((0.0, 1 / 3), (1 / 3, 2 / 3), (2 / 3, 1.0))
FIRST = (0.0, 0.1)
"""The part that a slowdown is counted from."""

LEVELS = 60
"""Blocks of equal time by which steadiness is told."""

WHOLE = 0.95
"""Share of the seconds asked for that a series must span."""

SLOW = 0.8
"""A one-second window is slow under this share of the median rate."""

NAMED = 20
BLOCKS = (60, 200)
FEWEST_BLOCKS = 40
FEWEST_WORTH = 5.0
"""Of a part's blocks, and the independent ones they must be worth (``mean_interval`` says what fewer would err by)."""


def unusable(series: Series, seconds: float) -> str:
    """Why nothing may be concluded from ``series``, of which ``seconds`` were asked for, or an empty string."""
    broken = latency.unusable(series)
    if broken:
        return broken
    spanned = _span(series)
    if spanned < WHOLE * seconds:
        return f"{show(spanned, 's')} of {show(seconds, 's')} were timed: lower [measure] sustained"
    if series.n < 2 * LEVELS:
        return f"{series.n} inferences are too few to see it settle: raise [measure] sustained"
    return ""


def p99(series: Series, seconds: float, limit: Limit | None, confidence: float) -> Judgement:
    """``sustained.p99``: the 99th percentile in the last third, bounded as ``latency.p99`` is."""
    broken = unusable(series, seconds)
    if broken:
        return inconclusive(broken, limit)
    judgement = latency.percentile(part(series, *THIRDS[-1]), 0.99, limit, confidence)
    judgement = judgement.model_copy(update={"details": {**judgement.details, **told(series)}})
    return _throughout(judgement, series, lambda one: float(np.quantile(one.duration, 0.99, method="inverted_cdf")))


def frames(series: Series, seconds: float, limit: Limit | None) -> Judgement:
    """``sustained.fps``: frames a second in the last third, counted."""
    broken = unusable(series, seconds)
    if broken:
        return inconclusive(broken, limit)
    last = part(series, *THIRDS[-1])
    measurement = Measurement(value=fps.rate(last), unit="1/s", n=last.n, method=digest_of(series.method))
    return _throughout(hold(measurement, limit, told(series)), series, fps.rate)


def slowdown(series: Series, seconds: float, limit: Limit | None, confidence: float) -> Judgement:
    """``sustained.slowdown``: by how much more time an inference takes in the last third than in the first tenth.

    Means of the logarithm of block means, each with the interval of a correlated series (``mean_interval``) at half
    the error, so that the interval of their ratio holds at ``confidence`` (Bonferroni). Under 0 it got faster.
    """
    broken = unusable(series, seconds)
    if broken:
        return inconclusive(broken, limit)
    level = 1 - (1 - confidence) / 2
    first, last = (_blocks(part(series, *of), most) for of, most in zip((FIRST, THIRDS[-1]), BLOCKS, strict=True))
    few = min(first.size, last.size)
    if few < FEWEST_BLOCKS:
        return inconclusive(
            f"a part has {few} blocks of {FEWEST_BLOCKS}: raise [measure] sustained", limit, told(series)
        )
    (before, before_low, before_high, worth), (after, low, high, other) = (
        mean_interval(np.log(blocks), level) for blocks in (first, last)
    )
    if min(worth, other) < FEWEST_WORTH:
        low, high = -math.inf, math.inf  # its own drift is all there is to see
    measurement = Measurement(
        value=math.expm1(after - before),
        unit="1",
        low=finite(math.expm1(low - before_high)),
        # A change above e^100 is no usable bound.
        high=None if high - before_low > 100 else finite(math.expm1(high - before_low)),
        confidence=confidence,
        n=series.n,
        method=digest_of(series.method),
    )
    advice = "its blocks hang together: raise [measure] sustained"
    judgement = hold_interval(measurement, limit, advice, told(series))
    return _settled(judgement, measurement.value, 1 + measurement.value, series)


def part(series: Series, low: float, high: float) -> Series:
    """The inferences that began within these shares of the series' time."""
    began = series.start - series.start[0]
    span = _span(series)
    within = (began >= low * span) & ((began < high * span) | (high >= 1))
    device = None if series.device is None else series.device[within]
    return replace(series, start=series.start[within], duration=series.duration[within], device=device)


def told(series: Series) -> dict[str, Any]:
    """From when on it was steady, its thirds, and the slow seconds in it: how many, when, how many in a row."""
    thirds = [part(series, *third) for third in THIRDS]
    steady = steadiness(_levels(series))
    return {
        "seconds": _span(series),
        "steady_since": None if steady.since is None else steady.since * _span(series) / LEVELS,
        "thirds_p99": [float(np.quantile(one.duration, 0.99)) if one.n else None for one in thirds],
        "thirds_fps": [fps.rate(one) if one.n else None for one in thirds],
        **slow_windows(series),
    }


def slow_windows(series: Series) -> dict[str, Any]:
    """One-second windows with less than 80 % of their median rate; they are in every figure all the same."""
    times, done = fps.progress(series)
    edges = np.arange(times[0], times[-1] + 1e-9, 1.0)
    rates = np.diff(np.interp(edges, times, done))
    if not rates.size:
        return {"windows": 0, "slow_windows": 0}
    slow = rates < SLOW * np.median(rates)
    found = {"windows": int(rates.size), "slow_windows": int(slow.sum())}
    if not slow.any():
        return found
    at = [float(second) for second in np.flatnonzero(slow)[:NAMED]]
    return {**found, "slow_at": at, "slow_longest": longest(slow), "slowest_window": float(rates.min())}


def _throughout(judgement: Judgement, series: Series, figure: Callable[[Series], float]) -> Judgement:
    """A pass at the end only where no part before it breaks the limit, and where it does not go on getting worse."""
    limit, measurement = judgement.limit, judgement.measurement
    if judgement.verdict is not Verdict.PASSED or limit is None or measurement is None:
        return judgement
    for low, high in THIRDS[:-1]:
        one = part(series, low, high)
        if not one.n or not _keeps(figure(one), limit):
            seen = show(figure(one), limit.unit) if one.n else "nothing ran"
            span = _span(series)
            when = f"{low * span:.0f} to {high * span:.0f} s"
            return _doubted(judgement, f"it is at the end, but was not from {when} ({seen}): raise [measure] sustained")
    return _settled(judgement, measurement.value, measurement.value, series)


def _settled(judgement: Judgement, value: float, grows: float, series: Series) -> Judgement:
    """No pass that as long again would undo: ``grows`` is what the remaining rise is relative to."""
    limit, rise = judgement.limit, steadiness(_levels(series)).rise
    if judgement.verdict is not Verdict.PASSED or limit is None or rise <= 0:
        return judgement
    ahead = value + rise * grows if limit.sense is Sense.AT_MOST else value / (1 + rise)
    if _keeps(ahead, limit):
        return judgement
    return _doubted(
        judgement, f"it is not steady yet, {rise:.1%} slower over its last third: raise [measure] sustained"
    )


def _doubted(judgement: Judgement, why: str) -> Judgement:
    reason = f"{judgement.reason}: {why}"
    return judgement.model_copy(update={"verdict": Verdict.INCONCLUSIVE, "reason": reason})


def _keeps(value: float, limit: Limit) -> bool:
    return value <= limit.value if limit.sense is Sense.AT_MOST else value >= limit.value


def _span(series: Series) -> float:
    times, _ = fps.progress(series)
    return float(times[-1] - times[0])


def _levels(series: Series) -> FloatArray:
    """Seconds an inference in blocks of equal time; progress is even between two completions."""
    times, done = fps.progress(series)
    edges = np.linspace(times[0], times[-1], LEVELS + 1)
    return np.diff(edges) / np.diff(np.interp(edges, times, done)) * series.batch


def _blocks(series: Series, most: int) -> FloatArray:
    """Seconds an inference in up to ``most`` blocks of as many inferences each, the few left over in none."""
    if not series.n:
        return np.empty(0)
    times, _ = fps.progress(series)
    each = max(1, series.n // most)
    ends = times[: 1 + each * (series.n // each) : each]
    return np.diff(ends) / each
