from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from hil.stats import (
    slope_interval,
)
from tests.stats.series import ar1


@given(st.floats(-1e3, 1e3), st.floats(-1e3, 1e3))
def test_slope_of_a_line_is_its_slope(slope: float, offset: float) -> None:
    """Without noise, slope and bounds equal the slope of the line."""
    x = np.arange(50.0)
    interval = slope_interval(x, offset + slope * x, 0.99)
    assert interval == pytest.approx((slope, slope, slope), abs=1e-6)


def test_slope_interval_covers_under_correlated_noise() -> None:
    """With correlated noise the true slope is within both bounds in at least 85 % of series (90 % expected)."""
    random = np.random.default_rng(2)
    x = np.arange(100.0)
    inside = 0
    for _ in range(300):
        _, low, high = slope_interval(x, 0.1 * x + ar1(random, 100, 0.6), 0.95)
        inside += low <= 0.1 <= high
    assert inside / 300 >= 0.85


def test_less_than_one_degree_of_freedom_gives_no_bounds() -> None:
    """116 readings with three steps have an effective size of little more than two: the interval is infinite."""
    y = np.repeat([0.0, 2.0, 0.0, -2.0], [30, 47, 9, 30])
    assert slope_interval(np.arange(116), y, 0.99)[1:] == (-math.inf, math.inf)


@given(st.integers(3, 60), st.integers(0, 59), st.integers(-5, 5), st.floats(0.0, 1.0))
def test_bounds_are_plausible_or_infinite(n: int, at: int, height: int, noise: float) -> None:
    """With too little data the bounds are infinite, never finite but far beyond the range of the data."""
    y = np.where(np.arange(n) >= at % n, float(height), 0.0) + np.random.default_rng(n).normal(0, noise, n)
    slope, low, high = slope_interval(np.arange(n), y, 0.99)
    assert low <= slope <= high
    assert math.isinf(high) or high - low <= 200 * max(float(np.ptp(y)), 1e-9)


@pytest.mark.parametrize("n", [0, 1, 2])
def test_too_few_points_have_no_bounds(n: int) -> None:
    """Two points give no bounds of the slope."""
    assert slope_interval(np.arange(n), np.arange(n), 0.95)[1:] == (-math.inf, math.inf)
