"""From when on a series is steady, if it is at all."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from hil.stats.vectors import vector

FEWEST = 12
"""Levels below which nothing is said of steadiness."""

TOLERANCE = 0.01
"""Relative change of the level that is taken for none: what two parts of one steady run differ by."""

LATEST = 2 / 3
"""Share of the series by which it must have become steady."""

_REST = 5  # levels that must remain behind a change: fewer have no spread to speak of (the 5 of MSER-5)
_CERTAIN = 2.576  # standard deviations: 99 % on both sides


@dataclass(frozen=True)
class Steadiness:
    """``since`` is the index of the first steady level, None if the series is not steady at its end.

    ``rise`` is by how much the level still changes then, relative and over the last third; 0.0 of a steady one.
    """

    since: int | None
    rise: float


def steadiness(levels: npt.ArrayLike, tolerance: float = TOLERANCE) -> Steadiness:
    """Where the warm-up (or the throttling) of a series of block means ends: MSER, then a test for what is left of it.

    The cut is the d that makes the variance of the mean of what follows least, sum (x - mean)^2 / (n - d)^2 over x
    behind d (White 1997, Simulation 69, 323; the 5 of MSER-5 are the blocks that the caller makes). A cut whose two
    sides differ by no more than ``tolerance`` is none. One in the last third is too late, as is a level that still
    moves behind it: significant at 99 % by Mann's test (Mann 1945, Econometrica 13) and by more than ``tolerance``.
    No level is dropped from anything by this: it only says what was seen (Barrett et al. 2017, OOPSLA, on why a fixed
    warm-up does not do).

    Raises ``ValueError`` for levels that are not a finite vector of positive numbers, or fewer than 12.
    """
    series = vector(levels, "levels")
    if series.size < FEWEST or not (series > 0).all():
        raise ValueError(f"levels must be {FEWEST} or more positive numbers, got {series.size}")
    n = series.size
    cut = _cut(series, tolerance)
    rise = _trend(series[cut:], tolerance)
    if rise:
        return Steadiness(None, rise * min(1.0, n * (1 - LATEST) / (n - cut)))
    if cut > LATEST * n:
        return Steadiness(None, float(series[cut:].mean() / series[:cut].mean() - 1))
    return Steadiness(cut, 0.0)


def _cut(series: npt.NDArray[np.float64], tolerance: float) -> int:
    n = series.size
    tails = np.arange(n, 0, -1)
    sums = np.cumsum(series[::-1])[::-1]
    squares = np.cumsum(np.square(series)[::-1])[::-1]
    # Rounding may leave a constant tail a variance just under zero.
    mser = np.maximum(squares - sums**2 / tails, 0.0) / tails.astype(np.float64) ** 2
    cut = int(mser[: n - _REST + 1].argmin())
    if not cut:
        return 0
    before, after = float(series[:cut].mean()), float(series[cut:].mean())
    return cut if abs(before - after) > tolerance * after else 0


def _trend(rest: npt.NDArray[np.float64], tolerance: float) -> float:
    """The relative rise over ``rest`` (Theil and Sen), 0.0 where it is not significant or within ``tolerance``."""
    n = rest.size
    first, second = np.triu_indices(n, k=1)
    rises = rest[second] - rest[first]
    spread = math.sqrt(n * (n - 1) * (2 * n + 5) / 18)
    if abs(float(np.sign(rises).sum())) <= _CERTAIN * spread:
        return 0.0
    rise = float(np.median(rises / (second - first))) * (n - 1) / float(np.median(rest))
    return rise if abs(rise) > tolerance else 0.0
