from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import binom

from hil.stats import (
    effective_size,
    percentile_bounds,
    samples_needed,
    smallest_n,
)
from tests.stats.series import ar1

FINITE = st.floats(-1e6, 1e6)
LEVEL = st.integers(500, 999).map(lambda thousandths: (thousandths + 0.3) / 1000)


@pytest.mark.parametrize(
    ("q", "confidence", "n"),
    [
        (0.9, 0.95, 29),
        (0.95, 0.95, 59),
        (0.99, 0.95, 299),
        (0.999, 0.95, 2995),
        (0.9, 0.99, 44),
        (0.95, 0.99, 90),
        (0.99, 0.99, 459),
        (0.999, 0.99, 4603),
    ],
)
def test_smallest_n_is_the_published_value(q: float, confidence: float, n: int) -> None:
    """``smallest_n`` has the values of the published table."""
    assert smallest_n(q, confidence) == n


@given(LEVEL, LEVEL)
def test_smallest_n_is_where_the_bound_begins(q: float, confidence: float) -> None:
    """With one sample less there is no upper bound; with ``smallest_n`` samples it is at most the largest sample."""
    n = smallest_n(q, confidence)
    if n > 10_000:
        return
    assert percentile_bounds(np.arange(n - 1), q, confidence)[1] == math.inf
    assert percentile_bounds(np.arange(n), q, confidence)[1] <= n - 1


@given(st.lists(FINITE, max_size=300), LEVEL, LEVEL)
def test_bounds_are_samples_around_the_quantile(samples: list[float], q: float, confidence: float) -> None:
    """Each bound is one of the samples or infinite, and low is not above high."""
    low, high = percentile_bounds(samples, q, confidence)
    assert low <= high
    assert low == -math.inf or low in samples
    assert high == math.inf or high in samples


@given(st.lists(FINITE, min_size=30, max_size=300), LEVEL, LEVEL, st.floats(0.01, 1))
def test_fewer_independent_samples_never_narrow_the_bounds(
    samples: list[float], q: float, confidence: float, share: float
) -> None:
    """A smaller effective size gives bounds that are at least as wide."""
    low, high = percentile_bounds(samples, q, confidence)
    wide_low, wide_high = percentile_bounds(samples, q, confidence, share * len(samples))
    assert wide_high >= high or math.isclose(wide_high, high)
    assert wide_low <= low or math.isclose(wide_low, low)


@pytest.mark.parametrize(("q", "confidence", "n"), [(0.99, 0.99, 700), (0.5, 0.95, 40), (0.9, 0.95, 100)])
def test_bounds_have_the_stated_coverage(q: float, confidence: float, n: int) -> None:
    """In 2,000 series the true quantile is beyond a bound no more often than the confidence allows."""
    series = np.random.default_rng(7).random((2000, n))
    bounds = np.array([percentile_bounds(row, q, confidence) for row in series])
    noise = 3 * math.sqrt(confidence * (1 - confidence) / len(series))
    assert np.mean(bounds[:, 1] >= q) >= confidence - noise
    assert np.mean(bounds[:, 0] <= q) >= confidence - noise


def test_bounds_of_correlated_series_hold() -> None:
    """The bound of an AR(1) series holds if computed with the effective size, and does not if computed with n."""
    random = np.random.default_rng(3)
    missed = {True: 0, False: 0}
    trials, n, rho = 200, 400, 0.9
    for _ in range(trials):
        series = ar1(random, n, rho)
        for corrected in missed:
            worth = effective_size(series, 0.5) if corrected else None
            missed[corrected] += percentile_bounds(series, 0.5, 0.95, worth)[1] < 0
    assert missed[True] / trials <= 0.10
    assert missed[False] / trials >= 0.15


@pytest.mark.parametrize("bad", [[1.0, math.nan], [[1.0]], [math.inf]])
def test_invalid_samples_are_refused(bad: list[float]) -> None:
    """NaN, infinity and matrices raise ``ValueError``."""
    with pytest.raises(ValueError, match="only finite values"):
        percentile_bounds(bad, 0.5, 0.95)


def test_no_samples_have_no_bounds() -> None:
    """Both bounds of an empty series are infinite."""
    assert percentile_bounds([], 0.5, 0.95) == (-math.inf, math.inf)


def test_samples_needed_grows_towards_the_limit() -> None:
    """``samples_needed`` is smallest with no sample over the limit, and None if their share is exactly 1 - q."""
    assert samples_needed(0.99, 0.99, 0.0) == smallest_n(0.99, 0.99)
    near = samples_needed(0.99, 0.99, 0.009)
    assert near is not None
    assert near > 10_000
    assert samples_needed(0.99, 0.99, 0.01) is None
    crossing = samples_needed(0.99, 0.99, 0.05)
    assert crossing is not None
    assert crossing < 1000


@given(st.integers(1, 400), LEVEL, LEVEL)
def test_the_ranks_are_those_of_the_definition(n: int, q: float, confidence: float) -> None:
    """The least r with P(Binomial(n, q) <= r - 1) >= confidence is the upper bound, the greatest l the lower one."""
    below = binom.cdf(np.arange(n), n, q)  # [k] = P(<= k), of the order statistic k + 1
    over, under = np.flatnonzero(below >= confidence), np.flatnonzero(below <= 1 - confidence)
    low, high = percentile_bounds(np.arange(n), q, confidence)
    assert high == (over[0] if over.size else math.inf)
    assert low == (under[-1] if under.size else -math.inf)
