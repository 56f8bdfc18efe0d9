"""Whether a series still moves."""

from __future__ import annotations

import math

import numpy as np
import numpy.typing as npt

from hil.stats.vectors import check, vector

_BLOCKS = 20  # of a trend test: enough for its normal approximation (Mann gives 10)
_SMALLEST_BLOCK = 5


def drift(samples: npt.ArrayLike, q: float, confidence: float) -> float:
    """By how much the ``q`` quantile rose (or fell, negative) over the series, 0.0 where no trend is significant.

    The quantiles of 20 blocks in a row, the significance of their trend by Mann's test (Mann 1945,
    Econometrica 13) at ``confidence``, its size by the median of pairwise slopes (Theil and Sen) times the
    length. A series too short for 20 blocks of five has none that could be seen.
    """
    series = vector(samples, "samples")
    check(q, confidence)
    per_block = series.size // _BLOCKS
    if per_block < _SMALLEST_BLOCK:
        return 0.0
    blocks = series[: per_block * _BLOCKS].reshape(_BLOCKS, per_block)
    levels = np.quantile(blocks, q, axis=1)
    first, second = np.triu_indices(_BLOCKS, k=1)
    rises = levels[second] - levels[first]
    spread = math.sqrt(_BLOCKS * (_BLOCKS - 1) * (2 * _BLOCKS + 5) / 18)
    from scipy.special import ndtri  # noqa: PLC0415 - 24 MiB that only judging needs

    if abs(float(np.sign(rises).sum())) <= float(ndtri(1 - (1 - confidence) / 2)) * spread:
        return 0.0
    return float(np.median(rises / (second - first))) * (_BLOCKS - 1)
