from __future__ import annotations

import numpy as np
import pytest

from hil.stats.steady import Steadiness, steadiness


def noise(n: int = 60, seed: int = 0, sd: float = 0.005) -> np.ndarray:
    """Return ``n`` levels around 1 with standard deviation ``sd``."""
    return 1 + sd * np.random.default_rng(seed).standard_normal(n)


def test_a_level_is_steady_from_the_start() -> None:
    """In at least 190 of 200 series of noise alone, no warm-up is detected."""
    results = [steadiness(noise(seed=seed)) for seed in range(200)]
    assert sum(result.since == 0 for result in results) >= 190


def test_a_constant_series_is_steady() -> None:
    """A series without any spread is steady from its start despite rounding."""
    assert steadiness(np.full(60, 0.1)) == Steadiness(0, 0.0)


@pytest.mark.parametrize("at", [3, 10, 25, 38])
@pytest.mark.parametrize("factor", [0.8, 1.3])
def test_the_end_of_a_warm_up_is_detected(at: int, factor: float) -> None:
    """A series with a step in its first two thirds is steady after the step, found at most five blocks late."""
    levels = noise()
    levels[:at] *= factor
    result = steadiness(levels)
    assert result.since is not None
    assert at - 1 <= result.since <= at + 5
    assert result.rise == 0.0


def test_a_change_in_the_last_third_is_too_late() -> None:
    """A series that changes just before its end is not steady, and the size of the change is returned."""
    levels = noise()
    levels[48:] *= 1.2
    result = steadiness(levels)
    assert result.since is None
    assert result.rise == pytest.approx(0.2, abs=0.02)


@pytest.mark.parametrize("total", [0.1, -0.1])
def test_a_ramp_is_never_steady(total: float) -> None:
    """A ramp has no steady level; ``rise`` has the sign of its direction."""
    result = steadiness(noise(sd=0.002) * np.linspace(1, 1 + total, 60))
    assert result.since is None
    assert result.rise * total > 0


def test_a_ramp_within_the_tolerance_is_steady() -> None:
    """A rise of 0.5 % over the series counts as steady."""
    assert steadiness(noise(sd=0.0005) * np.linspace(1, 1.005, 60)).since == 0


@pytest.mark.parametrize("levels", [[], [1.0] * 11, [1.0] * 11 + [0.0], [1.0] * 11 + [-1.0], [1.0] * 12 + [np.nan]])
def test_invalid_levels_are_refused(levels: list[float]) -> None:
    """Too few levels, and levels that are not positive and finite, raise ``ValueError``."""
    with pytest.raises(ValueError, match="levels must"):
        steadiness(levels)
