"""Computes the slope of a series with correlated residuals."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from hil.stats.vectors import check, vector

if TYPE_CHECKING:
    import numpy.typing as npt

_PARAMETERS = 2  # of a line: offset and slope


def slope_interval(x: npt.ArrayLike, y: npt.ArrayLike, confidence: float) -> tuple[float, float, float]:
    """Return the least-squares slope of ``y`` over ``x``: ``(slope, low, high)``, bounds one-sided at ``confidence``.

    For correlated residuals the series counts as fewer points (Santer et al. 2000, J. Geophys. Res. 105, 7337).

    The interval is infinite with fewer than three of these points. The slope is NaN with fewer than two points or a
    constant ``x``. Raise ``ValueError`` for unequal or non-finite vectors.
    """
    from scipy.special import stdtrit  # 24 MiB that only judging needs

    check(0.5, confidence)
    across, up = vector(x, "x"), vector(y, "y")
    if across.size != up.size:
        raise ValueError(f"x and y differ in length: {across.size} and {up.size}")
    n = across.size
    centred = across - across.mean() if n else across
    spread = float(centred @ centred)
    if n < _PARAMETERS or spread <= 0:
        return math.nan, -math.inf, math.inf
    # Not the Theil-Sen slope: its median ignores a rare large step, which some leaks consist of.
    slope = float(centred @ (up - up.mean()) / spread)
    residual = up - up.mean() - slope * centred
    error = float(residual @ residual)
    if error <= 1e-24 * max(1.0, float(up @ up)):
        return (slope, slope, slope) if n > _PARAMETERS else (slope, -math.inf, math.inf)
    lag = float(residual[1:] @ residual[:-1]) / error
    worth = n * (1 - max(lag, 0.0)) / (1 + max(lag, 0.0))
    if worth < _PARAMETERS + 1:
        return slope, -math.inf, math.inf
    half = float(stdtrit(worth - _PARAMETERS, confidence)) * math.sqrt(error / (worth - _PARAMETERS) / spread)
    return slope, slope - half, slope + half
