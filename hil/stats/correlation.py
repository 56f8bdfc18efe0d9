"""How many independent samples a correlated series is worth."""

from __future__ import annotations

import math

import numpy as np
import numpy.typing as npt

from hil.stats.vectors import FloatArray, autocorrelation, check, energy, vector

_TAIL = 40  # fewest exceedances from which an autocorrelation is estimated
FEWEST = 4  # samples below which no autocorrelation is looked for
_BODY = (0.75, 0.9)  # quantiles at which a percentile of the body is looked at as well
_BULK = 0.95  # a limit over this quantile is past the body
_CUT = 2.0  # standard errors at which a pair of autocorrelations counts as noise
_MARGIN = 1.5  # standard errors that are added to tau
_MOST_MARGIN = 4.0
_ALARM = 3.0, 2.0  # standard errors at which a variance of block sums counts as raised: of a short series, a long one
_SHORT = 750  # samples from which the one becomes the other, over a factor of two
_SHORTEST, _FEWEST_BLOCKS = 8, 16


def effective_size(samples: npt.ArrayLike, q: float | None = None, at: float | None = None) -> float:
    """How many independent samples a correlated series is worth: n / tau, at most n, at least 1.

    tau = 1 + 2 * (sum of autocorrelations) is the factor by which correlation raises the variance of a
    count of exceedances, which is what a percentile bound stands on. It is taken of the indicator
    "above the ``q`` quantile", or of the ranks where ``q`` is ``None``. With ``at`` it is taken of "above
    ``at``" instead: a percentile is held against a limit by the count of samples over that limit, and
    spikes far from the middle may well be independent where the middle is not. A tail of less than 40
    exceedances says nothing about its own correlation, so the threshold is then lowered until 40 lie
    over it (or raised until 40 lie under it): correlation grows towards the middle, which errs on the safe
    side. For a percentile up to the 90th, unless ``at`` is past the body, the 75th and 90th are looked at too, and the
    least is taken: two clock
    speeds that switch blur in the middle and show there. Of the indicator tau is taken with care (``_cautious``);
    of the ranks it is the plain estimate. A drifting series comes out as worth almost nothing.
    """
    series = vector(samples, "samples")
    n = series.size
    if n < FEWEST:
        return float(n)
    if q is None:
        return worth_of(_mid_ranks(series))
    check(q, 0.5)
    rare = min(_TAIL / n, 0.5)
    wanted = (max(min(q, 1 - rare), 0.5), rare, 1 - rare, _BULK, *(min(p, 1 - rare) for p in _BODY))
    line, least, most, bulk, *body = np.quantile(series, wanted)
    if at is not None:
        line = np.clip(at, least, most)
    if q > _BODY[-1] or n <= 2 * _TAIL or line > bulk:
        body = []
    return min(_cautious(_over(series, float(each))) for each in (line, *body))


def _over(series: FloatArray, line: float) -> FloatArray:
    """1.0 where ``series`` is above ``line``, else 0.0."""
    over = series > line
    # Where the tail is made of equal samples (a timeout, a coarse clock) none lies over it.
    return np.asarray(over if over.sum() >= min(_TAIL, series.size // 2) else series >= line, dtype=np.float64)


def _cautious(signal: FloatArray) -> float:
    """How many independent samples ``signal`` is worth, erring low: n / tau with tau the larger of two.

    One is the sum of autocorrelations by pairs (Geyer 1992, Practical Markov Chain Monte Carlo, 3.3), cut at the first
    pair that is within the noise, 2 standard errors of sqrt(2 / n), and then raised by 1.5 standard errors of its own,
    tau sqrt(2 (2 M + 1) / n) with M the lag of the cut (Madras and Sokal 1988, J. Stat. Phys. 50, 109), at most
    fourfold. The other sees what is weak but lasts, as of clocks that switch now and
    then: the variance of the sums of overlapping blocks by that of independent samples, for lengths from 8 to n / 16,
    where it is raised by 3 standard errors, sqrt(4 b / 3 n) (batch means; Flegal and Jones 2010, Ann. Stat. 38, 1034).
    From 1,500 samples on 2 will do: at 3, the bounds of p99 of 3,000 samples of such clocks were wrong in 1.4 % where
    1 % were allowed. A shorter series has wider bounds, and a good one shall be settled at the first look.
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
    return float(min(n, max(1.0, n / max(tau, _lasting(signal)))))


def _lasting(signal: FloatArray) -> float:
    """The largest ratio of variances of block sums that is no chance, 0.0 for none."""
    n = signal.size
    centred = signal - signal.mean()
    variance = energy(centred) / n
    sums = np.concatenate([[0.0], np.cumsum(centred)])
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
