from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from hil.stats import (
    effective_size,
)
from tests.stats.series import ar1

FINITE = st.floats(-1e6, 1e6)


@pytest.mark.parametrize("rho", [0.0, 0.5, 0.9])
def test_effective_size_of_ar1_series(rho: float) -> None:
    """The effective size of an AR(1) series is n (1 - rho) / (1 + rho), within a quarter."""
    random = np.random.default_rng(11)
    shares = [effective_size(ar1(random, 4000, rho)) / 4000 for _ in range(10)]
    assert np.mean(shares) == pytest.approx((1 - rho) / (1 + rho), rel=0.25)


def test_a_drifting_series_has_a_small_effective_size() -> None:
    """A ramp has a small effective size."""
    drift = np.linspace(1, 2, 2000) + np.random.default_rng(0).normal(0, 0.01, 2000)
    assert effective_size(drift) < 20
    assert effective_size(drift, 0.99) < 200


def test_bursts_in_the_tail_reduce_the_effective_size() -> None:
    """Slow inferences in bursts of ten give a smaller effective size than scattered ones."""
    random = np.random.default_rng(5)
    scattered = random.random(4000)
    bursts = random.random(4000)
    for start in random.choice(3900, 8, replace=False):
        bursts[start : start + 10] = 5
    assert effective_size(bursts, 0.99) < 0.4 * effective_size(scattered, 0.99)


@given(st.lists(FINITE, max_size=200), st.none() | st.floats(0.5, 0.99))
def test_effective_size_stays_between_one_and_n(samples: list[float], q: float | None) -> None:
    """The effective size is at most n, and at least 1 for a series with samples."""
    assert min(1, len(samples)) <= effective_size(samples, q) <= len(samples)


def test_a_limit_far_above_all_samples_is_not_judged_by_their_body() -> None:
    """For a series with phases of two speeds, the effective size is large at a limit far above it, small within it."""
    random = np.random.default_rng(5)
    phases = np.repeat(random.random(16) < 0.5, 43)
    series = (1 + 0.6 * phases) * (1 + 0.1 * random.random(phases.size))
    assert effective_size(series, 0.5, 20.0) > 100
    assert effective_size(series, 0.5, float(np.quantile(series, 0.93))) < 10
    assert effective_size(series, 0.9, float(np.quantile(series, 0.97))) < 10
