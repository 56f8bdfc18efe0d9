"""Computes the size of a drift in a series."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from hil.stats.mann_kendall import significant_slope
from hil.stats.vectors import check, vector

_BLOCKS = 20  # enough for the test's normal approximation (Mann requires 10)
_SMALLEST_BLOCK = 5  # samples


def drift(samples: npt.ArrayLike, q: float, confidence: float) -> float:
    """Return by how much the series rose, negative if it fell; 0.0 if no trend is significant.

    The result is the change of the ``q`` quantile or of the median, whichever is larger. The trend is Theil and Sen's
    slope over 20 blocks, by Mann-Kendall's test at ``confidence``. A series too short for 20 blocks of five samples has
    no trend.
    """
    series = vector(samples, "samples")
    check(q, confidence)
    per_block = series.size // _BLOCKS
    if per_block < _SMALLEST_BLOCK:
        return 0.0
    blocks = series[: per_block * _BLOCKS].reshape(_BLOCKS, per_block)
    # A drift moves the medians too, and the test has more statistical power there. Each test has half of the error.
    level = 1 - (1 - confidence) / 2
    slopes = [significant_slope(levels, level, correlated=True) for levels in np.quantile(blocks, (q, 0.5), axis=1)]
    return max(slopes, key=abs) * (_BLOCKS - 1)
