"""Judge minutes of inferences back to back by the last third of the time.

To pass, the earlier thirds must be within the limit too.
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

# The judged part is fixed before measuring, no matter when the series becomes steady. The earlier thirds count for a
# pass too, so that a board that throttles in phases does not pass because of a fast last phase.
THIRDS = ((0.0, 1 / 3), (1 / 3, 2 / 3), (2 / 3, 1.0))
FIRST = (0.0, 0.1)
"""The part of the time that a slowdown is relative to."""

LEVELS = 60
"""The number of blocks of equal time from which steadiness is determined."""

WHOLE = 0.95
"""The least share of the requested seconds that a series must span."""

SLOW = 0.8
"""A one-second window is slow below this share of the median rate."""

NAMED = 20
BLOCKS = (60, 200)
FEWEST_BLOCKS = 40
"""A part of fewer blocks is not judged (``mean_interval`` states its error for 40 values or more)."""

FEWEST_WORTH = 5.0
"""The smallest effective number of blocks that is judged."""


def unusable(series: Series, seconds: float) -> str:
    """Return why ``series`` cannot be judged, or an empty string; ``seconds`` is the requested length."""
    broken = latency.unusable(series)
    if broken:
        return broken
    spanned = _span(series)
    if spanned < WHOLE * seconds:
        return f"{show(spanned, 's')} of {show(seconds, 's')} were timed: lower [measure] sustained"
    if series.n < 2 * LEVELS:
        return f"{series.n} inferences are too few to decide whether they are steady: raise [measure] sustained"
    return ""


def p99(series: Series, seconds: float, limit: Limit | None, confidence: float) -> Judgement:
    """Judge ``sustained.p99``: the 99th percentile of the last third, bounded like ``latency.p99``."""
    broken = unusable(series, seconds)
    if broken:
        return inconclusive(broken, limit)
    judgement = latency.percentile(part(series, *THIRDS[-1]), 0.99, limit, confidence)
    judgement = judgement.model_copy(update={"details": {**judgement.details, **as_details(series)}})
    return _throughout(judgement, series, lambda one: float(np.quantile(one.duration, 0.99, method="inverted_cdf")))


def frames(series: Series, seconds: float, limit: Limit | None) -> Judgement:
    """Judge ``sustained.fps``: frames per second in the last third, an exact count."""
    broken = unusable(series, seconds)
    if broken:
        return inconclusive(broken, limit)
    last = part(series, *THIRDS[-1])
    measurement = Measurement(value=fps.rate(last), unit="1/s", n=last.n, method=digest_of(series.method))
    return _throughout(hold(measurement, limit, as_details(series)), series, fps.rate)


def slowdown(series: Series, seconds: float, limit: Limit | None, confidence: float) -> Judgement:
    """Judge ``sustained.slowdown``: the relative increase of the time per inference, last third against first tenth.

    A negative value means that the engine got faster. The interval holds at ``confidence`` (Bonferroni).
    """
    broken = unusable(series, seconds)
    if broken:
        return inconclusive(broken, limit)
    level = 1 - (1 - confidence) / 2
    first, last = (_blocks(part(series, *of), least) for of, least in zip((FIRST, THIRDS[-1]), BLOCKS, strict=True))
    few = min(first.size, last.size)
    if few < FEWEST_BLOCKS:
        return inconclusive(
            f"{few} inferences in a compared part, {FEWEST_BLOCKS} are needed: raise [measure] sustained",
            limit,
            as_details(series),
        )
    (before, before_low, before_high, worth), (after, low, high, other) = (
        mean_interval(np.log(blocks), level) for blocks in (first, last)
    )
    if min(worth, other) < FEWEST_WORTH:
        low, high = -math.inf, math.inf  # the part itself drifts: no usable interval
    measurement = Measurement(
        value=math.expm1(after - before),
        unit="1",
        low=finite(math.expm1(low - before_high)),
        # A change above e^100 is not a usable bound.
        high=None if high - before_low > 100 else finite(math.expm1(high - before_low)),
        confidence=confidence,
        n=series.n,
        method=digest_of(series.method),
    )
    advice = "the measured time is too short: raise [measure] sustained"
    judgement = hold_interval(measurement, limit, advice, as_details(series))
    return _settled(judgement, measurement.value, 1 + measurement.value, series)


def part(series: Series, low: float, high: float) -> Series:
    """Return the inferences that began between the shares ``low`` and ``high`` of the series' time."""
    began = series.start - series.start[0]
    span = _span(series)
    within = (began >= low * span) & ((began < high * span) | (high >= 1))
    device = None if series.device is None else series.device[within]
    return replace(series, start=series.start[within], duration=series.duration[within], device=device)


def as_details(series: Series) -> dict[str, Any]:
    """Return the details of the series: the time (s) from which it is steady, its thirds, and its slow seconds."""
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
    """Return the number of one-second windows below 80 % of the median rate, and the times of the first ones."""
    times, done = fps.progress(series)
    edges = np.arange(times[0], times[-1] + 1e-9, 1.0)
    rates = np.diff(np.interp(edges, times, done))
    if not rates.size:
        return {"windows": 0, "slow_windows": 0}
    slow = rates < SLOW * np.median(rates)
    counts = {"windows": int(rates.size), "slow_windows": int(slow.sum())}
    if not slow.any():
        return counts
    at = [float(second) for second in np.flatnonzero(slow)[:NAMED]]
    return {**counts, "slow_at": at, "slow_longest": longest(slow), "slowest_window": float(rates.min())}


def _throughout(judgement: Judgement, series: Series, figure: Callable[[Series], float]) -> Judgement:
    """Return ``judgement``; a pass becomes inconclusive if an earlier third breaks the limit.

    ``figure`` returns the value of a part of the series.
    """
    limit, measurement = judgement.limit, judgement.measurement
    if judgement.verdict is not Verdict.PASSED or limit is None or measurement is None:
        return judgement
    for low, high in THIRDS[:-1]:
        one = part(series, low, high)
        if not one.n or not _keeps(figure(one), limit):
            measured = show(figure(one), limit.unit) if one.n else "nothing ran"
            span = _span(series)
            when = f"{low * span:.0f} to {high * span:.0f} s"
            why = f"the limit is met at the end, but was not from {when} ({measured}): raise [measure] sustained"
            return _inconclusive(judgement, why)
    return _settled(judgement, measurement.value, measurement.value, series)


def _settled(judgement: Judgement, value: float, grows: float, series: Series) -> Judgement:
    """Return ``judgement``; a pass becomes inconclusive if the rise in the last third, repeated, would break the limit.

    The rise is a fraction of the time per inference. ``value`` is the judged value; for an upper limit, ``value`` rises
    by that fraction of ``grows``.
    """
    limit, rise = judgement.limit, steadiness(_levels(series)).rise
    if judgement.verdict is not Verdict.PASSED or limit is None or rise <= 0:
        return judgement
    ahead = value + rise * grows if limit.sense is Sense.AT_MOST else value / (1 + rise)
    if _keeps(ahead, limit):
        return judgement
    why = f"it is not steady yet, {rise:.1%} slower over its last third: raise [measure] sustained"
    return _inconclusive(judgement, why)


def _inconclusive(judgement: Judgement, why: str) -> Judgement:
    reason = f"{judgement.reason}: {why}"
    return judgement.model_copy(update={"verdict": Verdict.INCONCLUSIVE, "reason": reason})


def _keeps(value: float, limit: Limit) -> bool:
    return value <= limit.value if limit.sense is Sense.AT_MOST else value >= limit.value


def _span(series: Series) -> float:
    times, _ = fps.progress(series)
    return float(times[-1] - times[0])


def _levels(series: Series) -> FloatArray:
    """Return seconds per inference in blocks of equal time."""
    times, done = fps.progress(series)
    edges = np.linspace(times[0], times[-1], LEVELS + 1)
    return np.diff(edges) / np.diff(np.interp(edges, times, done)) * series.batch


def _blocks(series: Series, fewest: int) -> FloatArray:
    """Return the mean seconds per inference of each block of equally many inferences; a remainder is left out."""
    if not series.n:
        return np.empty(0)
    times, _ = fps.progress(series)
    each = max(1, series.n // fewest)
    ends = times[: 1 + each * (series.n // each) : each]
    return np.diff(ends) / each
