"""Whether a series still moves."""

from __future__ import annotations

import math

import numpy as np
import numpy.typing as npt

from hil.stats.vectors import FloatArray, check, vector

_BLOCKS = 20  # of a trend test: enough for its normal approximation (Mann gives 10)
_SMALLEST_BLOCK = 5
_MOST_LAG = 0.5  # more of it is a curve and no noise


def drift(samples: npt.ArrayLike, q: float, confidence: float) -> float:
    """By how much the ``q`` quantile rose (or fell, negative) over the series, 0.0 where no trend is significant.

    The quantiles of 20 blocks in a row, the significance of their trend by Mann's test (Mann 1945,
    Econometrica 13) at ``confidence``, its size by the median of pairwise slopes (Theil and Sen) times the
    length. The median is looked at as well, each at half the error: what drifts moves it too, and it is the
    surer of the two; of two trends the larger is told. A series too short for 20 blocks of five has none that could be
    seen.
    """
    series = vector(samples, "samples")
    check(q, confidence)
    per_block = series.size // _BLOCKS
    if per_block < _SMALLEST_BLOCK:
        return 0.0
    blocks = series[: per_block * _BLOCKS].reshape(_BLOCKS, per_block)
    level = 1 - (1 - confidence) / 2
    return max((_trend(found, level) for found in np.quantile(blocks, (q, 0.5), axis=1)), key=abs)


def _trend(levels: FloatArray, confidence: float) -> float:
    """The rise over ``levels`` where it is significant, else 0.0.

    Levels that hang together around their trend trend by chance more often: the test's variance is raised by
    (1 + r) / (1 - r), r their autocorrelation at lag one (after Hamed and Rao 1998, J. Hydrology 204, 182).
    """
    from scipy.special import ndtri  # 24 MiB that only judging needs

    n = levels.size
    first, second = np.triu_indices(n, k=1)
    rises = levels[second] - levels[first]
    slope = float(np.median(rises / (second - first)))
    rest = levels - slope * np.arange(n)
    rest -= rest.mean()
    power = float(rest @ rest)
    lag = min(max(float(rest[1:] @ rest[:-1]) / power, 0.0), _MOST_LAG) if power > 0 else 0.0
    spread = math.sqrt(n * (n - 1) * (2 * n + 5) / 18 * (1 + lag) / (1 - lag))
    if abs(float(np.sign(rises).sum())) <= float(ndtri(1 - (1 - confidence) / 2)) * spread:
        return 0.0
    return slope * (n - 1)
