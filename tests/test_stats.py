from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from hil.stats import (
    bootstrap_drop,
    drift,
    effective_size,
    mean_interval,
    percentile_bounds,
    samples_needed,
    slope_interval,
    smallest_n,
)

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
def test_smallest_n_is_the_published_one(q: float, confidence: float, n: int) -> None:
    """The known table of sample counts comes out."""
    assert smallest_n(q, confidence) == n


@given(LEVEL, LEVEL)
def test_smallest_n_is_where_the_bound_begins(q: float, confidence: float) -> None:
    """One sample less and there is no upper bound; with it the bound is the largest sample."""
    n = smallest_n(q, confidence)
    if n > 10_000:
        return
    assert percentile_bounds(np.arange(n - 1), q, confidence)[1] == math.inf
    assert percentile_bounds(np.arange(n), q, confidence)[1] <= n - 1


@given(st.lists(FINITE, max_size=300), LEVEL, LEVEL)
def test_bounds_are_samples_around_the_quantile(samples: list[float], q: float, confidence: float) -> None:
    """Each bound is one of the samples or open, and low is not above high."""
    low, high = percentile_bounds(samples, q, confidence)
    assert low <= high
    assert low == -math.inf or low in samples
    assert high == math.inf or high in samples


@given(st.lists(FINITE, min_size=30, max_size=300), LEVEL, LEVEL, st.floats(0.01, 1))
def test_fewer_independent_samples_never_narrow_the_bounds(
    samples: list[float], q: float, confidence: float, share: float
) -> None:
    """A correlated series gets bounds at least as wide as an independent one of its length."""
    low, high = percentile_bounds(samples, q, confidence)
    wide_low, wide_high = percentile_bounds(samples, q, confidence, share * len(samples))
    assert wide_high >= high or math.isclose(wide_high, high)
    assert wide_low <= low or math.isclose(wide_low, low)


@pytest.mark.parametrize(("q", "confidence", "n"), [(0.99, 0.99, 700), (0.5, 0.95, 40), (0.9, 0.95, 100)])
def test_bounds_cover_as_often_as_they_say(q: float, confidence: float, n: int) -> None:
    """Over 2,000 series the true quantile lies past a bound no oftener than the confidence allows."""
    series = np.random.default_rng(7).random((2000, n))
    bounds = np.array([percentile_bounds(row, q, confidence) for row in series])
    noise = 3 * math.sqrt(confidence * (1 - confidence) / len(series))
    assert np.mean(bounds[:, 1] >= q) >= confidence - noise
    assert np.mean(bounds[:, 0] <= q) >= confidence - noise


def test_correlated_series_are_covered_too() -> None:
    """With the effective size the bound of an AR(1) series holds; without it it does not."""
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
def test_bounds_of_nonsense_are_refused(bad: list[float]) -> None:
    """NaN, infinity and matrices have no percentile."""
    with pytest.raises(ValueError, match="finite vector"):
        percentile_bounds(bad, 0.5, 0.95)


def test_no_samples_bound_nothing() -> None:
    """An empty series is open on both sides."""
    assert percentile_bounds([], 0.5, 0.95) == (-math.inf, math.inf)


def test_samples_needed_grows_towards_the_limit() -> None:
    """None over the limit needs the fewest; a share at the very quantile needs more than there are."""
    assert samples_needed(0.99, 0.99, 0.0) == smallest_n(0.99, 0.99)
    near = samples_needed(0.99, 0.99, 0.009)
    assert near is not None
    assert near > 10_000
    assert samples_needed(0.99, 0.99, 0.01) is None
    crossing = samples_needed(0.99, 0.99, 0.05)
    assert crossing is not None
    assert crossing < 1000


def ar1(random: np.random.Generator, n: int, rho: float) -> np.ndarray:
    """A stationary Gaussian series whose neighbours correlate by ``rho``."""
    noise = random.standard_normal(n)
    series = np.empty(n)
    series[0] = noise[0]
    for i in range(1, n):
        series[i] = rho * series[i - 1] + math.sqrt(1 - rho**2) * noise[i]
    return series


@pytest.mark.parametrize("rho", [0.0, 0.5, 0.9])
def test_effective_size_finds_ar1(rho: float) -> None:
    """Of an AR(1) series n (1 - rho) / (1 + rho) samples are left, within a quarter."""
    random = np.random.default_rng(11)
    shares = [effective_size(ar1(random, 4000, rho)) / 4000 for _ in range(10)]
    assert np.mean(shares) == pytest.approx((1 - rho) / (1 + rho), rel=0.25)


def test_a_drifting_series_is_worth_almost_nothing() -> None:
    """What only goes up has no percentile."""
    drift = np.linspace(1, 2, 2000) + np.random.default_rng(0).normal(0, 0.01, 2000)
    assert effective_size(drift) < 20
    assert effective_size(drift, 0.99) < 200


def test_bursts_in_the_tail_are_seen() -> None:
    """Slow inferences that come in runs of ten count for less than scattered ones."""
    random = np.random.default_rng(5)
    scattered = random.random(4000)
    bursts = random.random(4000)
    for start in random.choice(3900, 8, replace=False):
        bursts[start : start + 10] = 5
    assert effective_size(bursts, 0.99) < 0.4 * effective_size(scattered, 0.99)


@given(st.lists(FINITE, max_size=200), st.none() | st.floats(0.5, 0.99))
def test_effective_size_stays_between_one_and_n(samples: list[float], q: float | None) -> None:
    """No series is worth more than it is long, and none with samples in it less than one."""
    assert min(1, len(samples)) <= effective_size(samples, q) <= len(samples)


@given(st.lists(st.sampled_from([0.0, 1.0]), min_size=1, max_size=300))
def test_equal_scores_lose_nothing(scores: list[float]) -> None:
    """Against itself the drop is exactly zero, and so are its bounds."""
    assert bootstrap_drop(scores, scores, 0.95, 0, resamples=50) == (0.0, 0.0, 0.0)


def test_bootstrap_is_paired() -> None:
    """What is hard for both sides does not widen the interval."""
    hard = np.random.default_rng(0).normal(0, 10, 200)
    _, low, high = bootstrap_drop(hard, hard - 1, 0.95, 0)
    assert low == pytest.approx(1)
    assert high == pytest.approx(1)


def test_bootstrap_repeats_with_its_seed() -> None:
    """The same seed gives the same bounds, also where the work is split into blocks."""
    ours, theirs = np.random.default_rng(0).random((2, 3000))
    assert bootstrap_drop(ours, theirs, 0.95, 4) == bootstrap_drop(ours, theirs, 0.95, 4)


def test_bootstrap_covers_the_true_drop() -> None:
    """The upper bound lies under the true drop in about 5 % of experiments, not more than 10 %."""
    random = np.random.default_rng(9)
    under = 0
    for trial in range(200):
        ours = random.random(300) < 0.95
        theirs = ours & (random.random(300) < 0.95)
        under += bootstrap_drop(ours, theirs, 0.95, trial, resamples=500)[2] < 0.95 * 0.05
    assert under / 200 <= 0.10


def test_a_relative_drop_from_zero_is_infinite() -> None:
    """A reference without any error has no error to grow by a share of."""
    assert bootstrap_drop(np.zeros(5), -np.ones(5), 0.95, 0, relative=True)[0] == math.inf
    assert bootstrap_drop(np.zeros(5), np.zeros(5), 0.95, 0, relative=True) == (0, 0, 0)


@pytest.mark.parametrize(("ours", "theirs"), [([], []), ([1.0], [math.nan]), ([1.0], [1.0, 2.0])])
def test_scores_that_do_not_pair_are_refused(ours: list[float], theirs: list[float]) -> None:
    """No scores, scores that are not finite, or of different samples, have no drop."""
    with pytest.raises(ValueError, match=r"finite|no samples|shape"):
        bootstrap_drop(ours, theirs, 0.95, 0)


@given(st.floats(-1e3, 1e3), st.floats(-1e3, 1e3))
def test_slope_of_a_line_is_its_slope(slope: float, offset: float) -> None:
    """Without noise slope and bounds are the line's."""
    x = np.arange(50.0)
    found = slope_interval(x, offset + slope * x, 0.99)
    assert found == pytest.approx((slope, slope, slope), abs=1e-6)


def test_slope_interval_covers_under_correlated_noise() -> None:
    """With noise that hangs together the true slope lies within both bounds about as often as promised."""
    random = np.random.default_rng(2)
    x = np.arange(100.0)
    inside = 0
    for _ in range(300):
        _, low, high = slope_interval(x, 0.1 * x + ar1(random, 100, 0.6), 0.95)
        inside += low <= 0.1 <= high
    assert inside / 300 >= 0.85


@pytest.mark.parametrize("n", [0, 1, 2])
def test_too_few_points_have_no_bounds(n: int) -> None:
    """Two points have a line but nothing that says how sure it is."""
    assert slope_interval(np.arange(n), np.arange(n), 0.95)[1:] == (-math.inf, math.inf)


def test_drift_sees_a_ramp_and_no_noise() -> None:
    """A ramp of 10 % is found with its size and direction; noise raises no more alarms than stated."""
    random = np.random.default_rng(5)
    noise = 1 + 0.01 * random.standard_normal(4000)
    ramp = np.linspace(0, 0.1, 4000)
    assert drift(noise + ramp, 0.5, 0.99) == pytest.approx(0.1, rel=0.15)
    assert drift(noise - ramp, 0.5, 0.99) == pytest.approx(-0.1, rel=0.15)
    alarms = sum(drift(random.lognormal(size=400), 0.5, 0.95) != 0 for _ in range(400))
    assert alarms <= 36  # 20 are expected; 36 is more than the 99.9th percentile
    assert drift(np.ones(99), 0.5, 0.99) == 0.0


def _ar1(seed: int, runs: int, n: int, phi: float) -> np.ndarray:
    """Series of mean 0 whose neighbours hang together by ``phi``, settled."""
    series = np.random.default_rng(seed).normal(size=(runs, n + 200))
    for at in range(1, n + 200):
        series[:, at] += phi * series[:, at - 1]
    return series[:, 200:]


@pytest.mark.parametrize("phi", [0.0, 0.5, 0.8, 0.9, 0.95])
@pytest.mark.parametrize("n", [40, 100, 400])
@pytest.mark.parametrize(("confidence", "wrong"), [(0.95, 0.06), (0.99, 0.03)])
def test_the_mean_of_a_correlated_series_keeps_its_bounds(phi: float, n: int, confidence: float, wrong: float) -> None:
    """A side of the interval, where it is worth five samples, excludes the true mean about as rarely as it says."""
    runs = 1000
    found = [mean_interval(each, confidence) for each in _ar1(7, runs, n, phi)]
    missed = sum(worth >= 5 and high < 0 for _, _, high, worth in found)
    assert missed / runs <= wrong + 0.012  # two standard errors of this count


def test_the_mean_of_independent_samples_is_student_s() -> None:
    """Where nothing hangs together the interval is the usual one."""
    samples = np.random.default_rng(3).normal(5, 1, 400)
    mean, low, high, worth = mean_interval(samples, 0.975)
    assert worth > 300
    assert mean == pytest.approx(samples.mean())
    assert (high - low) / 2 == pytest.approx(1.96 * samples.std(ddof=1) / 20, rel=0.15)


@pytest.mark.parametrize("samples", [[1.0], [1.0, 2.0, 3.0], np.linspace(0, 1, 50)])
def test_a_mean_that_nothing_bounds_is_open(samples: np.ndarray) -> None:
    """Too few samples, or a ramp, leave the interval open or very wide rather than narrow."""
    _, low, high, worth = mean_interval(samples, 0.99)
    assert worth < 5
    assert high - low > np.ptp(samples)


@pytest.mark.parametrize("samples", [[], [1.0, math.nan], [[1.0]]])
def test_a_mean_of_nothing_is_refused(samples: list[float]) -> None:
    """No samples, or none that are finite."""
    with pytest.raises(ValueError, match=r"samples"):
        mean_interval(samples, 0.99)
