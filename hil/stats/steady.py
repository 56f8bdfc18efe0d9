"""Determines whether a series is steady, and from which point on."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from hil.stats.mann_kendall import significant_slope
from hil.stats.vectors import vector

FEWEST = 12
"""The smallest number of levels whose steadiness is assessed."""

TOLERANCE = 0.01
"""The largest relative change of the level that counts as no change: parts of one steady run differ by as much."""

LATEST = 2 / 3
"""The series must become steady within this share of its length."""

_FEWEST_BEHIND = 5  # levels that must follow a change: fewer give no usable variance (the 5 of MSER-5)
_CONFIDENCE = 0.99


@dataclass(frozen=True)
class Steadiness:
    """Where a series becomes steady.

    Attributes:
        since: index of the first steady level, ``None`` if the series is not steady at its end.
        rise: 0.0 if the series is steady, else the relative change of the level: its trend over the last third, or its
            jump there.
    """

    since: int | None
    rise: float


def steadiness(levels: npt.ArrayLike, tolerance: float = TOLERANCE) -> Steadiness:
    """Return where a series of block means becomes steady: after the cut of MSER, if no trend follows.

    MSER chooses the cut that minimizes the variance of the mean of the levels after it (White 1997, Simulation 69,
    323). The series is not steady if the cut lies in its last third, or if a trend larger than ``tolerance`` follows.
    Raise ``ValueError`` unless ``levels`` is a finite vector of at least 12 positive numbers.
    """
    series = vector(levels, "levels")
    if series.size < FEWEST or not (series > 0).all():
        raise ValueError(f"levels must be {FEWEST} or more positive numbers, got {series.size}")
    n = series.size
    cut = _cut(series, tolerance)
    rise = _relative_rise(series[cut:], tolerance)
    if rise:
        return Steadiness(None, rise * min(1.0, n * (1 - LATEST) / (n - cut)))
    if cut > LATEST * n:
        return Steadiness(None, float(series[cut:].mean() / series[:cut].mean() - 1))
    return Steadiness(cut, 0.0)


def _cut(series: npt.NDArray[np.float64], tolerance: float) -> int:
    """Return the index of the cut that MSER chooses; 0 if the level changes at this cut by at most ``tolerance``.

    MSER minimizes sum (x - mean)^2 / (n - cut)^2 over the levels after the cut.
    """
    n = series.size
    tails = np.arange(n, 0, -1)
    sums = np.cumsum(series[::-1])[::-1]
    squares = np.cumsum(np.square(series)[::-1])[::-1]
    # Rounding can make the variance of a constant tail slightly negative.
    mser = np.maximum(squares - sums**2 / tails, 0.0) / tails.astype(np.float64) ** 2
    cut = int(mser[: n - _FEWEST_BEHIND + 1].argmin())
    if not cut:
        return 0
    before, after = float(series[:cut].mean()), float(series[cut:].mean())
    return cut if abs(before - after) > tolerance * after else 0


def _relative_rise(levels: npt.NDArray[np.float64], tolerance: float) -> float:
    """Return the relative rise over ``levels``; 0.0 if it is not significant, or at most ``tolerance``."""
    rise = significant_slope(levels, _CONFIDENCE) * (levels.size - 1) / float(np.median(levels))
    return rise if abs(rise) > tolerance else 0.0
