from __future__ import annotations

import math

import numpy as np
import pytest

from hil.stats import (
    mean_interval,
)
from tests.stats.series import ar1_rows


@pytest.mark.parametrize("phi", [0.0, 0.5, 0.8, 0.9, 0.95])
@pytest.mark.parametrize("n", [40, 100, 400])
@pytest.mark.parametrize(("confidence", "wrong"), [(0.95, 0.06), (0.99, 0.03)])
def test_the_mean_of_a_correlated_series_keeps_its_bounds(phi: float, n: int, confidence: float, wrong: float) -> None:
    """A side of the interval, where it is worth five samples, excludes the true mean about as rarely as it says."""
    runs = 1000
    found = [mean_interval(each, confidence) for each in ar1_rows(7, runs, n, phi)]
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
