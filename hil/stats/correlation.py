"""Estimates the effective size of a correlated series: the number of independent samples with the same information."""

from __future__ import annotations

import math

import numpy as np
import numpy.typing as npt

from hil.stats.vectors import FloatArray, autocorrelation, check, energy, vector

_TAIL = 40  # fewest exceedances from which an autocorrelation is estimated
FEWEST = 4  # samples below which no autocorrelation is estimated
_BODY = (0.75, 0.9)  # quantiles at which the correlation is estimated too, for a percentile in the body
_BULK = 0.95  # a limit above this quantile is outside the body
_FAR = 0.1  # a limit is far from the body if at most this share of the samples that may be above it are
_CUT = 2.0  # a pair of autocorrelations within this many standard errors counts as noise
_MARGIN = 1.5  # standard errors that are added to tau
_MOST_MARGIN = 4.0
_ALARM = 3.0, 2.0  # standard errors above which a variance of block sums counts as raised: short series, long series
_SHORT = 750  # samples up to which a series is short; between this and twice this the threshold changes gradually
_SHORTEST, _FEWEST_BLOCKS = 8, 16


def effective_size(samples: npt.ArrayLike, q: float | None = None, at: float | None = None) -> float:
    """Return the effective size of a correlated series of n samples, from 1 to n.

    It is n / tau, where tau is the factor by which correlation raises the variance of a count. The count is that of the
    samples above the ``q`` quantile or, if ``at`` is not ``None``, above the value ``at``. If ``q`` is ``None``, tau is
    that of the ranks (``effective_size_of``). For fewer than 4 samples the result is n.
    """
    series = vector(samples, "samples")
    n = series.size
    if n < FEWEST:
        return float(n)
    if q is None:
        return effective_size_of(_mid_ranks(series))
    check(q, 0.5)
    # Fewer than 40 samples above the threshold do not suffice to estimate their correlation, so it is lowered
    # until 40 are above it, or raised until 40 are below it. Both err on the safe side, because correlation is larger
    # towards the median. Switching between two clock speeds is not visible at the median, but at the quantiles _BODY.
    rare = min(_TAIL / n, 0.5)
    shares = (max(min(q, 1 - rare), 0.5), rare, 1 - rare, _BULK, *(min(p, 1 - rare) for p in _BODY))
    threshold, least, most, bulk, *body = np.quantile(series, shares)
    if at is not None:
        threshold = np.clip(at, least, most)
    far = at is not None and float(np.mean(series > at)) <= (1 - q) * _FAR
    if q > _BODY[-1] or n <= 2 * _TAIL or threshold > bulk or far:
        body = []
    return min(_cautious(_indicator(series, float(each))) for each in (threshold, *body))


def _indicator(series: FloatArray, threshold: float) -> FloatArray:
    """Return 1.0 where ``series`` is above ``threshold``, else 0.0; if too few are above, also 1.0 where equal."""
    over = series > threshold
    # If the tail consists of equal samples (a timeout, a coarse clock), no sample is above its own quantile.
    return np.asarray(over if over.sum() >= min(_TAIL, series.size // 2) else series >= threshold, dtype=np.float64)


def _cautious(signal: FloatArray) -> float:
    """Return a low estimate of the effective size of ``signal``: n / tau, with tau the larger of two estimates.

    The first sums the autocorrelations in pairs of lags and adds standard errors (Geyer 1992, Practical Markov Chain
    Monte Carlo, 3.3; Madras and Sokal 1988, J. Stat. Phys. 50, 109). The second is ``_block_variance_ratio``.
    """
    n = signal.size
    correlation = autocorrelation(signal)
    if correlation is None:
        return float(n)
    pairs = correlation[1 : 1 + 2 * ((correlation.size - 1) // 2)].reshape(-1, 2).sum(axis=1)
    ends = np.flatnonzero(pairs <= _CUT * math.sqrt(2 / n))
    cut = int(ends[0]) if ends.size else int(pairs.size)
    tau = 1 + 2 * float(pairs[:cut].sum())
    if cut:
        unsure = _MARGIN * math.sqrt(2 * (4 * cut + 1) / n)
        tau *= min(1 / (1 - unsure), _MOST_MARGIN) if unsure < 1 else _MOST_MARGIN
    return float(min(n, max(1.0, n / max(tau, _block_variance_ratio(signal)))))


def _block_variance_ratio(signal: FloatArray) -> float:
    """Return the largest significant ratio of block sums' variance to that of independent samples; 0.0 without one.

    It detects weak correlation that lasts long (batch means; Flegal and Jones 2010, Ann. Stat. 38, 1034).
    """
    n = signal.size
    centred = signal - signal.mean()
    variance = energy(centred) / n
    sums = np.concatenate([[0.0], np.cumsum(centred)])
    # With 3 standard errors throughout, the p99 bounds of 3,000 samples under switching clocks were wrong in 1.4 % of
    # cases, and 1 % is allowed. Shorter series have wider bounds anyway.
    alarm = max(_ALARM[1], _ALARM[0] - max(0.0, math.log2(n / _SHORT)))
    largest, length = 0.0, _SHORTEST
    while n // length >= _FEWEST_BLOCKS:
        blocks = sums[length:] - sums[:-length]
        ratio = energy(blocks) / blocks.size / (length * variance) / (1 - length / n)
        error = math.sqrt(4 / 3 * length / n)
        if ratio > 1 + alarm * error:
            largest = max(largest, ratio * (1 + error))
        length *= 2
    return largest


def effective_size_of(signal: FloatArray) -> float:
    """Return the effective size n / tau for the mean of ``signal``; n for a constant signal.

    The sum of autocorrelations in tau ends at the first pair of lags whose sum is not positive (Geyer 1992, 3.3).
    """
    n = signal.size
    correlation = autocorrelation(signal)
    if correlation is None:
        return float(n)
    pairs = correlation[1 : 1 + 2 * ((correlation.size - 1) // 2)].reshape(-1, 2).sum(axis=1)
    ends = np.flatnonzero(pairs <= 0)
    total = float(pairs[: ends[0]].sum() if ends.size else pairs.sum())
    return float(min(n, max(1.0, n / (1 + 2 * total))))


def _mid_ranks(series: FloatArray) -> FloatArray:
    _, inverse, counts = np.unique(series, return_inverse=True, return_counts=True)
    last = np.cumsum(counts)
    return np.asarray((last - (counts - 1) / 2)[inverse], dtype=np.float64)
