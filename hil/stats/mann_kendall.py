"""Computes the Mann-Kendall test for a monotonic trend, with the Theil-Sen slope."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from hil.stats.vectors import FloatArray

_MAX_LAG = 0.5  # a larger autocorrelation of the residuals means a curve, not noise


def significant_slope(levels: FloatArray, confidence: float, *, correlated: bool = False) -> float:
    """Return the median of all pairwise slopes of ``levels`` per step (Theil and Sen), or 0.0 if it is not significant.

    The test is Mann's (1945, Econometrica 13, 245), two-sided at ``confidence``, by the normal approximation.
    ``correlated`` allows for correlated residuals (after Hamed and Rao 1998, J. Hydrology 204, 182).
    """
    from scipy.special import ndtri  # 24 MiB that only judging needs

    n = levels.size
    first, second = np.triu_indices(n, k=1)
    rises = levels[second] - levels[first]
    slope = float(np.median(rises / (second - first)))
    variance = n * (n - 1) * (2 * n + 5) / 18
    if correlated:
        # Correlated residuals show a trend by chance more often.
        lag = _lag_one(levels - slope * np.arange(n))
        variance *= (1 + lag) / (1 - lag)
    critical = float(ndtri((1 + confidence) / 2)) * math.sqrt(variance)
    return slope if abs(float(np.sign(rises).sum())) > critical else 0.0


def _lag_one(residuals: FloatArray) -> float:
    """Return the autocorrelation of ``residuals`` at lag one, limited to 0 to 0.5."""
    centred = residuals - residuals.mean()
    power = float(centred @ centred)
    return min(max(float(centred[1:] @ centred[:-1]) / power, 0.0), _MAX_LAG) if power > 0 else 0.0
