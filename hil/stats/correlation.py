"""How many independent samples a correlated series is worth."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from hil.stats.vectors import FloatArray, autocorrelation, check, vector

_TAIL = 20  # fewest exceedances from which an autocorrelation is estimated
FEWEST = 4  # samples below which no autocorrelation is looked for


def effective_size(samples: npt.ArrayLike, q: float | None = None, at: float | None = None) -> float:
    """How many independent samples a correlated series is worth: n / tau, at most n, at least 1.

    tau = 1 + 2 * (sum of autocorrelations) is the factor by which correlation raises the variance of a
    count of exceedances, which is what a percentile bound stands on. It is taken of the indicator
    "above the ``q`` quantile", or of the ranks where ``q`` is ``None``. With ``at`` it is taken of "above
    ``at``" instead: a percentile is held against a limit by the count of samples over that limit, and
    spikes far from the middle may well be independent where the middle is not. A tail of less than 20
    exceedances says nothing about its own correlation, so the threshold is then lowered until 20 lie
    over it (or raised until 20 lie under it): correlation grows towards the middle, which errs on the safe
    side. The sum is cut by Geyer's initial positive sequence (Geyer 1992, Practical Markov Chain Monte
    Carlo, 3.3). A drifting series comes out as worth almost nothing.
    """
    series = vector(samples, "samples")
    n = series.size
    if n < FEWEST:
        return float(n)
    if q is None:
        signal = _mid_ranks(series)
    else:
        check(q, 0.5)
        line = np.quantile(series, max(min(q, 1 - _TAIL / n), 0.5))
        if at is not None:
            rare = min(_TAIL / n, 0.5)
            line = np.clip(at, np.quantile(series, rare), np.quantile(series, 1 - rare))
        over = series > line
        # Where the tail is made of equal samples (a timeout, a coarse clock) none lies over it.
        signal = (over if over.sum() >= min(_TAIL, n // 2) else series >= line).astype(np.float64)
    return worth_of(signal)


def worth_of(signal: FloatArray) -> float:
    """How many independent samples ``signal`` itself is worth, as ``effective_size`` says; n for a constant one."""
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
