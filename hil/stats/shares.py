"""Computes bounds of the mean of values from 0 to 1, such as the share of samples whose answer changed."""

from __future__ import annotations

import math

import numpy as np
import numpy.typing as npt

from hil.stats.vectors import FloatArray, check, vector

_STAKES = np.geomspace(0.02, 1.0, 24)
"""Stakes of the bets of ``share_bounds``, as fractions of the largest stake. The bound averages the bets' capital."""

_HALVINGS = 30


def share_bounds(values: npt.ArrayLike, confidence: float, worth: int | None = None) -> tuple[float, float]:
    """Return ``(low, high)``: bounds of the mean that ``values``, each from 0 to 1, were drawn from.

    Each bound is one-sided at ``confidence``. ``worth`` is the number of distinct values, if some are copies. If every
    value is 0 or 1, or if some are copies, the bounds are Clopper and Pearson's (Biometrika 26, 1934), otherwise those
    of betting (Waudby-Smith and Ramdas, J. R. Stat. Soc. B 86, 2024). The bounds are 0 and 1 without values. Raises
    ``ValueError`` for a value that is not from 0 to 1.
    """
    check(0.5, confidence)
    shares = vector(values, "values")
    n = shares.size if worth is None else min(worth, shares.size)
    if n < 1:
        return 0.0, 1.0
    if shares.min() < 0 or shares.max() > 1:
        raise ValueError(f"values from {shares.min()} to {shares.max()}: give shares from 0 to 1")
    if n == shares.size and ((shares > 0) & (shares < 1)).any():
        return 1 - _upper(1 - shares, confidence), _upper(shares, confidence)
    over = float(shares.mean()) * n
    return _least(math.floor(over + 1e-9), n, confidence), 1 - _least(n - math.ceil(over - 1e-9), n, confidence)


def _least(count: int, n: int, confidence: float) -> float:
    """Return the one-sided lower bound, at ``confidence``, of a share that ``count`` of ``n`` samples have."""
    from scipy.special import betaincinv  # 24 MiB that only judging needs

    return 0.0 if count <= 0 else float(betaincinv(count, n - count + 1, 1 - confidence))


def _upper(shares: FloatArray, confidence: float) -> float:
    low, high = float(shares.mean()), 1.0
    for _ in range(_HALVINGS):
        middle = (low + high) / 2
        factors = np.log1p(-np.outer(_STAKES * (1 - 1e-9) / (1 - middle), shares - middle)).sum(axis=1)
        gain = float(np.logaddexp.reduce(factors)) - math.log(len(_STAKES))
        low, high = (middle, high) if gain < -math.log1p(-confidence) else (low, middle)
    return high
