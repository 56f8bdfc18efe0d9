"""How much a metric lost, by resampling in pairs."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from hil.stats.vectors import FloatArray, check, vector

_BLOCK = 2**20  # elements of one block of resampled indices: 8 MiB


def bootstrap_drop(  # noqa: PLR0913 - a resampling has this many knobs
    reference: npt.ArrayLike,
    candidate: npt.ArrayLike,
    confidence: float,
    seed: int,
    *,
    relative: bool = False,
    resamples: int = 4000,
) -> tuple[float, float, float]:
    """By how much the mean score falls from ``reference`` to ``candidate``: ``(drop, low, high)``.

    Both are per-sample scores of the same samples, shape (n,), higher is better. Samples are drawn
    with replacement and in pairs (Efron and Tibshirani, An Introduction to the Bootstrap, 13.3), so that
    what is hard for both does not widen the interval. ``relative`` divides the drop by the magnitude of
    the reference's mean; it is infinite where that is zero and the candidate's is not.
    Raises ``ValueError`` for empty, unequal or non-finite scores.
    """
    check(0.5, confidence)
    pair = np.stack([vector(reference, "reference"), vector(candidate, "candidate")])
    n = pair.shape[1]
    if n < 1:
        raise ValueError("no samples to draw from")
    random = np.random.default_rng(seed)
    rows = max(1, _BLOCK // n)
    drawn = [
        _drop(pair[:, random.integers(0, n, (min(rows, resamples - done), n))].mean(axis=2), relative=relative)
        for done in range(0, resamples, rows)
    ]
    drops = np.concatenate(drawn)
    low = float(np.quantile(drops, 1 - confidence, method="lower"))
    high = float(np.quantile(drops, confidence, method="higher"))
    return float(_drop(pair.mean(axis=1), relative=relative)), low, high


def _drop(means: FloatArray, *, relative: bool) -> FloatArray:
    lost = means[0] - means[1]
    if not relative:
        return np.asarray(lost, dtype=np.float64)
    base = np.abs(means[0])
    with np.errstate(divide="ignore", invalid="ignore"):
        return np.asarray(np.where(lost == 0, 0.0, lost / base), dtype=np.float64)
