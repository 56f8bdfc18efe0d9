"""Frames per second of a timed series: sustained, in its slowest second, and over 100 consecutive frames.

An inference processes ``batch`` frames. ``limit.value`` is the target rate; below ``limit.fail_at`` the check fails.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import numpy as np

from hil.checks.latency import unusable
from hil.checks.verdicts import hold, inconclusive
from hil.results import Cause, Judgement, Limit, Measurement, Sense, Verdict
from hil.series import FloatArray, Series, digest_of

if TYPE_CHECKING:
    from collections.abc import Mapping

WINDOW = 1.0
"""Length of the window of ``slowest_second``, in seconds."""

FRAMES = 100
"""The number of consecutive frames of ``last_100``."""

FEWEST_WINDOWS = 2.0
"""The number of windows that a series must span for its slowest window to be judged."""

ROUNDING = 1e-9
"""The share by which the sum of a series' parts may be less than the requested time."""


def sustained(series: Series, limit: Limit | None) -> Judgement:
    """Judge ``fps.sustained``: all frames divided by the time from the first start to the last end.

    Inconclusive if this time is less than 1 s (``not_run`` if there is no limit either).
    """
    broken = _unusable(series, limit, WINDOW)
    if broken:
        return _unknown(broken, limit)
    return _judge(series, rate(series), limit)


def rate(series: Series) -> float:
    """Return the frames per second from the first start to the last end of a usable series of any length."""
    times, frames = progress(series)
    return float(frames[-1] / (times[-1] - times[0]))


def slowest_second(series: Series, limit: Limit | None) -> Judgement:
    """Judge ``fps.slowest_second``: the fewest frames in any complete one-second window of the series."""
    broken = _unusable(series, limit, FEWEST_WINDOWS * WINDOW)
    if broken:
        return _unknown(broken, limit)
    times, frames = progress(series)
    # The difference of two piecewise linear curves has its minimum where either has a knot.
    begins = np.concatenate([times, times - WINDOW])
    begins = begins[(begins >= times[0]) & (begins <= times[-1] - WINDOW)]
    done = np.interp(begins + WINDOW, times, frames) - np.interp(begins, times, frames)
    worst = int(done.argmin())
    return _judge(series, float(done[worst]) / WINDOW, limit, {"at_seconds": float(begins[worst] - times[0])})


def last_100(series: Series, limit: Limit | None) -> Judgement:
    """Judge ``fps.last_100``: the lowest rate over 100 consecutive frames."""
    broken = _unusable(series, limit, 0.0)
    if broken:
        return _unknown(broken, limit)
    row = max(2, math.ceil(FRAMES / series.batch))
    if series.n < row:
        return _unknown(f"{series.n * series.batch} frames were run, {row * series.batch} are needed", limit)
    times, _ = progress(series)
    spans = times[row:] - times[:-row]
    worst = int(spans.argmax())
    return _judge(
        series, row * series.batch / float(spans[worst]), limit, {"first_inference": worst, "inferences": row}
    )


def _unusable(series: Series, limit: Limit | None, seconds: float) -> str:
    broken = unusable(series)
    if broken:
        return broken
    if limit is not None and limit.sense is not Sense.AT_LEAST:
        return "a frame rate's limit must be a minimum"
    times, _ = progress(series)
    span = float(times[-1] - times[0])
    if span < seconds * (1 - ROUNDING):
        return f"the series spans {span:.6g} s, {seconds:g} s are needed: measure longer"
    return ""


def _unknown(reason: str, limit: Limit | None) -> Judgement:
    """Return the judgement of a series without a rate: inconclusive, or ``not_run`` if there is no limit either."""
    if limit is None:
        return Judgement(verdict=Verdict.NOT_RUN, reason=reason, cause=Cause.NO_LIMIT)
    return inconclusive(reason, limit)


def progress(series: Series) -> tuple[FloatArray, FloatArray]:
    """Return the first start and the end of each inference (s), and the frames completed by then; shapes (n + 1,).

    Pauses between timed windows, and the time of the control, are left out.
    """
    start = series.start - _idle(series)
    ends = np.maximum.accumulate(start + series.duration)
    times = np.concatenate([start[:1], ends])
    return times, np.arange(series.n + 1, dtype=np.float64) * series.batch


def segments(window: Mapping[str, Any]) -> list[int]:
    """Return how many inferences each part of a timed window has; the control ran between the parts.

    ``window`` is an element of a series' ``facts["windows"]``. Parts that do not add up count as one part. The list is
    empty if the window does not state its number of inferences.
    """
    n, parts = window.get("n"), window.get("segments")
    if not isinstance(n, int) or n <= 0:
        return []
    if isinstance(parts, (list, tuple)) and all(isinstance(part, int) and part > 0 for part in parts):
        return list(parts) if sum(parts) == n else [n]
    return [n]


def _idle(series: Series) -> FloatArray:
    """Return, for each inference, the sum of the pauses (s) before it, shape (n,)."""
    windows = series.facts.get("windows")
    windows = windows if isinstance(windows, (list, tuple)) else ()
    sizes = [size for window in windows if isinstance(window, dict) for size in segments(window)]
    idle = np.zeros(series.n)
    if len(sizes) < 2 or sum(sizes) != series.n:  # the last window may be short; a single one has no predecessor
        return idle
    ends = np.maximum.accumulate(series.start + series.duration)
    for first in np.cumsum(sizes)[:-1]:
        idle[first:] += max(float(series.start[first] - ends[first - 1]), 0.0)
    return idle


def _judge(series: Series, rate: float, limit: Limit | None, details: dict[str, float] | None = None) -> Judgement:
    # A millionth is far below the resolution of any clock and far above the rounding of the interpolation.
    measurement = Measurement(value=round(rate, 6), unit="1/s", n=series.n, method=digest_of(series.method))
    return hold(measurement, limit, details)
