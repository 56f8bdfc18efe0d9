"""Computes the drop of a metric, with its confidence interval, by a paired bootstrap."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import numpy.typing as npt

from hil.stats.vectors import FloatArray, check, vector

_BLOCK = 2**20  # elements of one block of resampled indices: 8 MiB

Pool = Callable[[FloatArray], FloatArray]
"""Maps how often each sample was drawn, float64 of shape (draws, n), to one score per draw, shape (draws,)."""


def bootstrap_drop(  # noqa: PLR0913 - a bootstrap has this many parameters
    reference: npt.ArrayLike,
    candidate: npt.ArrayLike,
    confidence: float,
    seed: int,
    *,
    relative: bool = False,
    resamples: int = 4000,
) -> tuple[float, float, float]:
    """Return ``(drop, low, high)``: the drop of the mean score from ``reference`` to ``candidate``, and its bounds.

    Both sides have scores of the same samples, shape (n,); higher is better. The two scores of a sample are drawn
    together (Efron and Tibshirani, An Introduction to the Bootstrap, 13.3). Each bound is one-sided at ``confidence``.
    With ``relative``, the drop is divided by the magnitude of the reference's mean (infinite if that mean is 0). Raise
    ``ValueError`` if a side has no scores, a score is not finite, or the numbers of scores differ.
    """
    check(0.5, confidence)
    pair = np.stack([vector(reference, "reference"), vector(candidate, "candidate")])
    n = pair.shape[1]
    if n < 1:
        raise ValueError("no samples to draw from")
    random = np.random.default_rng(seed)
    rows = max(1, _BLOCK // n)
    drawn = []
    for done in range(0, resamples, rows):
        picked = random.integers(0, n, (min(rows, resamples - done), n))
        drawn.append(_drop(np.stack([side.take(picked).mean(axis=1) for side in pair]), relative=relative))
    drops = np.concatenate(drawn)
    low = float(np.quantile(drops, 1 - confidence, method="lower"))
    high = float(np.quantile(drops, confidence, method="higher"))
    return float(_drop(pair.mean(axis=1), relative=relative)), low, high


def bootstrap_pooled_drop(  # noqa: PLR0913 - as above
    reference: Pool,
    candidate: Pool,
    n: int,
    confidence: float,
    seed: int,
    *,
    relative: bool = False,
    resamples: int = 400,
) -> tuple[float, float, float]:
    """Return ``(drop, low, high)`` like ``bootstrap_drop``, for scores that are not means over samples, such as mAP.

    ``n`` is the number of samples. Both pools get the same draws; a higher score is better. A draw whose score is NaN
    has an infinite drop. Raise ``ValueError`` if there are no samples.
    """
    check(0.5, confidence)
    if n < 1:
        raise ValueError("no samples to draw from")
    random = np.random.default_rng(seed)
    rows = max(1, min(resamples, _BLOCK // n))
    drops = []
    for done in range(0, resamples, rows):
        drawn = min(rows, resamples - done)
        picked = random.integers(0, n, (drawn, n)) + n * np.arange(drawn)[:, None]
        counts = np.bincount(picked.ravel(), minlength=drawn * n).reshape(drawn, n).astype(np.float64)
        drops.append(_drop(np.stack([reference(counts), candidate(counts)]), relative=relative))
    losses = np.concatenate(drops)
    losses[np.isnan(losses)] = np.inf
    low = float(np.quantile(losses, 1 - confidence, method="lower"))
    high = float(np.quantile(losses, confidence, method="higher"))
    whole = np.ones((1, n))
    return float(_drop(np.stack([reference(whole), candidate(whole)]), relative=relative)[0]), low, high


def _drop(means: FloatArray, *, relative: bool) -> FloatArray:
    lost = means[0] - means[1]
    if not relative:
        return np.asarray(lost, dtype=np.float64)
    base = np.abs(means[0])
    with np.errstate(divide="ignore", invalid="ignore"):
        return np.asarray(np.where(lost == 0, 0.0, lost / base), dtype=np.float64)
