"""Bounds that hold without assuming a distribution, as pure functions over arrays.

Every bound is one-sided at ``confidence``: ``high`` is exceeded by the true value with probability
at most ``1 - confidence``, and so is ``low`` undercut. Nothing here draws a verdict.
"""

from __future__ import annotations

import math

import numpy as np
import numpy.typing as npt

FloatArray = npt.NDArray[np.float64]

_TAIL = 20  # fewest exceedances from which an autocorrelation is estimated
_FEWEST = 4  # samples below which no autocorrelation is looked for
_PARAMETERS = 2  # of a line: offset and slope
_BLOCK = 2**20  # elements of one block of resampled indices: 8 MiB
_BLOCKS = 20  # of a trend test: enough for its normal approximation (Mann gives 10)
_SMALLEST_BLOCK = 5


def _vector(samples: npt.ArrayLike, what: str) -> FloatArray:
    array = np.asarray(samples, dtype=np.float64)
    if array.ndim != 1 or not np.isfinite(array).all():
        raise ValueError(f"{what} must be a finite vector, got shape {array.shape}")
    return array


def _check(q: float, confidence: float) -> None:
    if not (0 < q < 1 and 0 < confidence < 1):
        raise ValueError(f"q and confidence must lie between 0 and 1, got {q} and {confidence}")


def smallest_n(q: float, confidence: float) -> int:
    """The fewest independent samples whose maximum bounds the ``q`` quantile: least n with 1 - q^n >= confidence.

    59 for the 95th and 299 for the 99th percentile at 95 %, 90 and 459 at 99 %.
    """
    _check(q, confidence)
    n = max(1, math.ceil(math.log1p(-confidence) / math.log(q) - 1e-9))
    return n if -math.expm1(n * math.log(q)) >= confidence else n + 1


def percentile_bounds(
    samples: npt.ArrayLike, q: float, confidence: float, effective: float | None = None
) -> tuple[float, float]:
    """Distribution-free bounds of the ``q`` quantile from order statistics, each one-sided at ``confidence``.

    The number of samples at or under the true quantile is Binomial(n, q), so that X(r) with the least r
    of P(Binomial <= r - 1) >= confidence is an upper bound, and X(l) with the greatest l of
    P(Binomial <= l - 1) <= 1 - confidence a lower one (Hahn and Meeker, Statistical Intervals, 5.2).
    ``effective`` is the number of independent samples the series is worth (``effective_size``): the ranks
    are found for that many and carried over as shares of n, rounded outwards.

    Returns ``(-inf, inf)`` where n is too small for a side. Raises ``ValueError`` for samples that are
    not a finite vector.
    """
    _check(q, confidence)
    ordered = np.sort(_vector(samples, "samples"))
    n = ordered.size
    worth = n if effective is None else min(n, math.floor(effective))
    if worth < 1:
        return -math.inf, math.inf
    below, above = _ranks(worth, q, confidence)
    low = -math.inf if below is None else float(ordered[below * n // worth])
    high = math.inf if above is None else float(ordered[n - 1 - above * n // worth])
    return low, high


def _ranks(n: int, q: float, confidence: float) -> tuple[int | None, int | None]:
    """How many of ``n`` samples stay under the lower bound's and over the upper bound's order statistic."""
    from scipy.special import bdtr  # noqa: PLC0415 - 24 MiB that only judging needs

    cumulative = np.asarray(bdtr(np.arange(n, dtype=np.float64), n, q))  # [k] = P(Binomial(n, q) <= k), k < n
    under = int(np.searchsorted(cumulative, 1 - confidence, side="right"))  # ranks l with P(<= l - 1) <= 1 - c
    over = int(np.searchsorted(cumulative, confidence, side="left"))  # r - 1
    return (under - 1 if under >= 1 else None), (n - 1 - over if over < n else None)


def samples_needed(q: float, confidence: float, share: float, limit: int = 10**7) -> int | None:
    """How many independent samples settle the ``q`` quantile if ``share`` of them lie over its limit.

    ``None`` where the share is so near to ``1 - q`` that ``limit`` samples would not settle it.
    """
    from scipy.special import bdtr, bdtrc  # noqa: PLC0415 - as above

    _check(q, confidence)

    def settled(n: int) -> bool:
        over = math.ceil(share * n) if share < 1 - q else math.floor(share * n)
        clears = float(bdtr(float(over), n, 1 - q)) <= 1 - confidence
        crosses = over > 0 and float(bdtrc(float(over - 1), n, 1 - q)) <= 1 - confidence
        return clears or crosses

    high = smallest_n(q, confidence)
    while not settled(high):
        high *= 2
        if high > limit:
            return None
    low = high // 2
    while high - low > max(1, low // 100):
        middle = (low + high) // 2
        low, high = (low, middle) if settled(middle) else (middle, high)
    return high


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
    series = _vector(samples, "samples")
    n = series.size
    if n < _FEWEST:
        return float(n)
    if q is None:
        signal = _mid_ranks(series)
    else:
        _check(q, 0.5)
        line = np.quantile(series, max(min(q, 1 - _TAIL / n), 0.5))
        if at is not None:
            rare = min(_TAIL / n, 0.5)
            line = np.clip(at, np.quantile(series, rare), np.quantile(series, 1 - rare))
        over = series > line
        # Where the tail is made of equal samples (a timeout, a coarse clock) none lies over it.
        signal = (over if over.sum() >= min(_TAIL, n // 2) else series >= line).astype(np.float64)
    return _worth(signal)


def _worth(signal: FloatArray) -> float:
    """How many independent samples ``signal`` itself is worth, as ``effective_size`` says; n for a constant one."""
    n = signal.size
    correlation = _autocorrelation(signal)
    if correlation is None:
        return float(n)
    pairs = correlation[1 : 1 + 2 * ((correlation.size - 1) // 2)].reshape(-1, 2).sum(axis=1)
    ends = np.flatnonzero(pairs <= 0)
    total = float(pairs[: ends[0]].sum() if ends.size else pairs.sum())
    return float(min(n, max(1.0, n / (1 + 2 * total))))


def mean_interval(samples: npt.ArrayLike, confidence: float) -> tuple[float, float, float, float]:
    """The mean of a correlated series: ``(mean, low, high, worth)``, each side at ``confidence``.

    The variance of the mean is that of ``worth`` independent samples. Their number is the smaller of two: n / tau as
    in ``effective_size`` (Geyer 1992, 3.3), and n (1 - r) / (1 + r) with r the autocorrelation at lag one, freed of
    the bias that a short series gives it, r + (1 + 4 r) / n (Marriott and Pope 1954, Biometrika 41, 390). The bounds
    are Student's with ``worth`` - 1 degrees of freedom (Zwiers and von Storch 1995, J. Climate 8, 336). A sensor that
    repeats its last reading, or a mean that drifts, thereby widens it. From 40 samples on, and refused where ``worth``
    is under 5, either bound is wrong in at most 6 % of the series at 95 % and 3 % at 99 %, up to r = 0.95
    (tests/test_stats.py). The interval is infinite where fewer than two samples remain.
    Raises ``ValueError`` for samples that are not a finite vector, or none.
    """
    from scipy.special import stdtrit  # noqa: PLC0415 - as in _ranks

    _check(0.5, confidence)
    series = _vector(samples, "samples")
    n = series.size
    if not n:
        raise ValueError("no samples to take the mean of")
    mean = float(series.mean())
    worth = _worth(series) if n >= _FEWEST else 1.0
    correlation = _autocorrelation(series)
    lag = 0.0 if correlation is None or n < _FEWEST else float(correlation[1])
    lag += (1 + 4 * lag) / n
    if correlation is not None and lag > 0:
        worth = max(1.0, min(worth, n * (1 - min(lag, 1.0)) / (1 + lag)))
    if worth < _PARAMETERS:
        return mean, -math.inf, math.inf, worth
    variance = float(np.square(series - mean).sum()) / (n * (1 - 1 / worth))
    half = float(stdtrit(worth - 1, confidence)) * math.sqrt(variance / worth)
    return mean, mean - half, mean + half, worth


def drift(samples: npt.ArrayLike, q: float, confidence: float) -> float:
    """By how much the ``q`` quantile rose (or fell, negative) over the series, 0.0 where no trend is significant.

    The quantiles of 20 blocks in a row, the significance of their trend by Mann's test (Mann 1945,
    Econometrica 13) at ``confidence``, its size by the median of pairwise slopes (Theil and Sen) times the
    length. A series too short for 20 blocks of five has none that could be seen.
    """
    series = _vector(samples, "samples")
    _check(q, confidence)
    per_block = series.size // _BLOCKS
    if per_block < _SMALLEST_BLOCK:
        return 0.0
    blocks = series[: per_block * _BLOCKS].reshape(_BLOCKS, per_block)
    levels = np.quantile(blocks, q, axis=1)
    first, second = np.triu_indices(_BLOCKS, k=1)
    rises = levels[second] - levels[first]
    spread = math.sqrt(_BLOCKS * (_BLOCKS - 1) * (2 * _BLOCKS + 5) / 18)
    from scipy.special import ndtri  # noqa: PLC0415 - as in _ranks

    if abs(float(np.sign(rises).sum())) <= float(ndtri(1 - (1 - confidence) / 2)) * spread:
        return 0.0
    return float(np.median(rises / (second - first))) * (_BLOCKS - 1)


def _mid_ranks(series: FloatArray) -> FloatArray:
    _, inverse, counts = np.unique(series, return_inverse=True, return_counts=True)
    last = np.cumsum(counts)
    return np.asarray((last - (counts - 1) / 2)[inverse], dtype=np.float64)


def _autocorrelation(signal: FloatArray) -> FloatArray | None:
    """Autocorrelation at lags 0 to n // 2 by FFT; ``None`` for a constant signal."""
    n = signal.size
    centred = signal - signal.mean()
    power = float(centred @ centred)
    if power <= 0:
        return None
    spectrum = np.fft.rfft(centred, 2 ** math.ceil(math.log2(2 * n)))
    product = np.fft.irfft(spectrum * spectrum.conj())[: n // 2 + 1]
    return np.asarray(product / power, dtype=np.float64)


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
    _check(0.5, confidence)
    pair = np.stack([_vector(reference, "reference"), _vector(candidate, "candidate")])
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


def slope_interval(x: npt.ArrayLike, y: npt.ArrayLike, confidence: float) -> tuple[float, float, float]:
    """The slope of ``y`` over ``x`` by least squares: ``(slope, low, high)``, each side at ``confidence``.

    Residuals of a process's memory hang together (it grows in steps), and an ordinary interval is then
    far too narrow: with r the residuals' autocorrelation at lag one, the series counts as
    n (1 - r) / (1 + r) points, in the residual variance and in the degrees of freedom (Santer et al. 2000,
    J. Geophys. Res. 105, 7337). Least squares and not Theil-Sen, whose median ignores a rare large step,
    which is how some leaks look. The interval is infinite where fewer than three points remain.
    Raises ``ValueError`` for unequal or non-finite vectors.
    """
    from scipy.special import stdtrit  # noqa: PLC0415 - as above

    _check(0.5, confidence)
    across, up = _vector(x, "x"), _vector(y, "y")
    if across.size != up.size:
        raise ValueError(f"x and y differ in length: {across.size} and {up.size}")
    n = across.size
    centred = across - across.mean() if n else across
    spread = float(centred @ centred)
    if n < _PARAMETERS or spread <= 0:
        return math.nan, -math.inf, math.inf
    slope = float(centred @ (up - up.mean()) / spread)
    residual = up - up.mean() - slope * centred
    error = float(residual @ residual)
    if error <= 1e-24 * max(1.0, float(up @ up)):
        return (slope, slope, slope) if n > _PARAMETERS else (slope, -math.inf, math.inf)
    lag = float(residual[1:] @ residual[:-1]) / error
    worth = n * (1 - max(lag, 0.0)) / (1 + max(lag, 0.0))
    if worth <= _PARAMETERS:
        return slope, -math.inf, math.inf
    half = float(stdtrit(worth - _PARAMETERS, confidence)) * math.sqrt(error / (worth - _PARAMETERS) / spread)
    return slope, slope - half, slope + half
