from __future__ import annotations

import math

import numpy as np
import pytest

from hil.stats import (
    mean_interval,
)
from tests.stats.series import ar1_rows


@pytest.mark.parametrize("phi", [0.0, 0.8, 0.95])
@pytest.mark.parametrize("n", [40, 400])
@pytest.mark.parametrize(("confidence", "wrong"), [(0.95, 0.06), (0.99, 0.03)])
def test_the_mean_of_a_correlated_series_keeps_its_bounds(phi: float, n: int, confidence: float, wrong: float) -> None:
    """With an effective size of five or more, a bound excludes the true mean no more often than documented."""
    runs = 1000
    intervals = [mean_interval(each, confidence) for each in ar1_rows(7, runs, n, phi)]
    missed = sum(worth >= 5 and high < 0 for _, _, high, worth in intervals)
    assert missed / runs <= wrong + 0.012  # two standard errors of this count


def test_the_mean_of_independent_samples_is_student_s() -> None:
    """For independent samples the interval is Student's."""
    samples = np.random.default_rng(3).normal(5, 1, 400)
    mean, low, high, worth = mean_interval(samples, 0.975)
    assert worth > 300
    assert mean == pytest.approx(samples.mean())
    assert (high - low) / 2 == pytest.approx(1.96 * samples.std(ddof=1) / 20, rel=0.15)


@pytest.mark.parametrize("samples", [[1.0], [1.0, 2.0, 3.0], np.linspace(0, 1, 50)])
def test_the_interval_of_few_samples_is_wide(samples: np.ndarray) -> None:
    """For too few samples and for a ramp, the interval is infinite or wider than the range of the samples."""
    _, low, high, worth = mean_interval(samples, 0.99)
    assert worth < 5
    assert high - low > np.ptp(samples)


@pytest.mark.parametrize("samples", [[], [1.0, math.nan], [[1.0]]])
def test_a_mean_of_nothing_is_refused(samples: list[float]) -> None:
    """No samples, non-finite samples and a matrix raise ``ValueError``."""
    with pytest.raises(ValueError, match=r"samples"):
        mean_interval(samples, 0.99)
