"""Frames per second of a timed series: sustained, in its slowest second, over 100 frames in a row.

An inference carries ``batch`` frames. ``limit.value`` is the target rate and ``limit.fail_at`` where a
warning becomes a failure (80 % of the target by the catalogue).
"""

from __future__ import annotations

import math

import numpy as np

from hil.checks.latency import unusable
from hil.checks.verdicts import hold, inconclusive
from hil.results import Cause, Judgement, Limit, Measurement, Sense, Verdict
from hil.series import FloatArray, Series, digest_of

WINDOW = 1.0
"""Length of the window of ``slowest_second``, in seconds."""

FRAMES = 100
"""Frames in a row of ``last_100``."""

FEWEST_WINDOWS = 2.0
"""Windows a series must span before its slowest one says anything."""


def sustained(series: Series, limit: Limit | None) -> Judgement:
    """``fps.sustained``: all frames over the time from the first start to the last end, at least a second."""
    broken = _unusable(series, limit, WINDOW)
    if broken:
        return _unknown(broken, limit)
    return _judge(series, rate(series), limit)


def rate(series: Series) -> float:
    """Frames per second from the first start to the last end of a usable series, however short."""
    times, frames = progress(series)
    return float(frames[-1] / (times[-1] - times[0]))


def slowest_second(series: Series, limit: Limit | None) -> Judgement:
    """``fps.slowest_second``: the fewest frames of any full one-second window, wherever it begins.

    Progress is taken as even between two completions, so that 30 frames a second are 30.0 in every window
    and not 29 or 31 by where its edges fall. Windows that the series does not fill are left out.
    """
    broken = _unusable(series, limit, FEWEST_WINDOWS * WINDOW)
    if broken:
        return _unknown(broken, limit)
    times, frames = progress(series)
    # The difference of two piecewise linear curves is least where either has a knot.
    begins = np.concatenate([times, times - WINDOW])
    begins = begins[(begins >= times[0]) & (begins <= times[-1] - WINDOW)]
    done = np.interp(begins + WINDOW, times, frames) - np.interp(begins, times, frames)
    worst = int(done.argmin())
    return _judge(series, float(done[worst]) / WINDOW, limit, {"at_seconds": float(begins[worst] - times[0])})


def last_100(series: Series, limit: Limit | None) -> Judgement:
    """``fps.last_100``: the slowest rate over 100 frames in a row (a rate meter over the last 100, at its least).

    Of batches, as few as hold 100 frames, but two at least.
    """
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
        return "a frame rate's limit must be a lower one"
    times, _ = progress(series)
    span = float(times[-1] - times[0])
    if span < seconds:
        return f"the series spans {span:.3g} s, {seconds:g} s are needed: time it for longer"
    return ""


def _unknown(reason: str, limit: Limit | None) -> Judgement:
    """No rate to tell; where none was asked for, that decides nothing."""
    if limit is None:
        return Judgement(verdict=Verdict.NOT_RUN, reason=reason, cause=Cause.NO_LIMIT)
    return inconclusive(reason, limit)


def progress(series: Series) -> tuple[FloatArray, FloatArray]:
    """Times (s) from the first start on, and the frames completed by then; both of n + 1 entries.

    What passed between two timed windows (warming up, reading the state) is no time of work and is taken out.
    """
    start = series.start - _idle(series)
    ends = np.maximum.accumulate(start + series.duration)
    times = np.concatenate([start[:1], ends])
    return times, np.arange(series.n + 1, dtype=np.float64) * series.batch


def _idle(series: Series) -> FloatArray:
    """Seconds before each inference in which no window was open, shape (n,)."""
    windows = series.facts.get("windows")
    told = [one.get("n") for one in windows if isinstance(one, dict)] if isinstance(windows, (list, tuple)) else []
    sizes = [n for n in told if isinstance(n, int) and n > 0]
    idle = np.zeros(series.n)
    if len(sizes) < 2 or sum(sizes) != series.n:  # the last window may be short; a single one has no predecessor
        return idle
    ends = np.maximum.accumulate(series.start + series.duration)
    for first in np.cumsum(sizes)[:-1]:
        idle[first:] += max(float(series.start[first] - ends[first - 1]), 0.0)
    return idle


def _judge(series: Series, rate: float, limit: Limit | None, details: dict[str, float] | None = None) -> Judgement:
    # A millionth is far under any clock's resolution and far over what interpolation rounds away.
    measurement = Measurement(value=round(rate, 6), unit="1/s", n=series.n, method=digest_of(series.method))
    return hold(measurement, limit, details)
