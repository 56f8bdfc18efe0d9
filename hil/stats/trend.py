"""Computes the size of a drift in a series."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from hil.stats.mann_kendall import significant_slope
from hil.stats.vectors import check, vector

_BLOCKS = 20  # enough for the test's normal approximation (Mann requires 10)
_SMALLEST_BLOCK = 5  # samples


def drift(samples: npt.ArrayLike, q: float, confidence: float) -> float:
    """Return by how much the ``q`` quantile rose over the series, negative if it fell; 0.0 if no trend is significant.

    The series is divided into 20 consecutive blocks. The trend of the blocks' quantiles is tested by Mann-Kendall at
    ``confidence``, and its size is the Theil-Sen slope times the length. The blocks' medians are tested as well,
    because a drift moves them too and the test has more statistical power there. Each test has half of the error, and
    the larger of the two trends is returned. Returns 0.0 for a series that is too short for 20 blocks of five samples.
    """
    series = vector(samples, "samples")
    check(q, confidence)
    per_block = series.size // _BLOCKS
    if per_block < _SMALLEST_BLOCK:
        return 0.0
    blocks = series[: per_block * _BLOCKS].reshape(_BLOCKS, per_block)
    level = 1 - (1 - confidence) / 2
    slopes = [significant_slope(levels, level, correlated=True) for levels in np.quantile(blocks, (q, 0.5), axis=1)]
    return max(slopes, key=abs) * (_BLOCKS - 1)
