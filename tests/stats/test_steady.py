from __future__ import annotations

import numpy as np
import pytest

from hil.stats.steady import Steadiness, steadiness


def noise(n: int = 60, seed: int = 0, sd: float = 0.005) -> np.ndarray:
    """Levels around 1."""
    return 1 + sd * np.random.default_rng(seed).standard_normal(n)


def test_a_level_is_steady_from_the_start() -> None:
    """Noise alone is no warm-up: seldom is one seen where there is none."""
    found = [steadiness(noise(seed=seed)) for seed in range(200)]
    assert sum(one.since == 0 for one in found) >= 190


def test_a_constant_series_is_steady() -> None:
    """No spread at all, however rounding falls."""
    assert steadiness(np.full(60, 0.1)) == Steadiness(0, 0.0)


@pytest.mark.parametrize("at", [3, 10, 25, 38])
@pytest.mark.parametrize("factor", [0.8, 1.3])
def test_the_end_of_a_warm_up_is_found(at: int, factor: float) -> None:
    """A step up or down within the first two thirds: steady from there on, a few blocks late at most."""
    levels = noise()
    levels[:at] *= factor
    found = steadiness(levels)
    assert found.since is not None
    assert at - 1 <= found.since <= at + 5
    assert found.rise == 0.0


def test_a_change_in_the_last_third_is_too_late() -> None:
    """What became slower just before the end is not steady, and how much slower is told."""
    levels = noise()
    levels[48:] *= 1.2
    found = steadiness(levels)
    assert found.since is None
    assert found.rise == pytest.approx(0.2, abs=0.02)


@pytest.mark.parametrize("total", [0.1, -0.1])
def test_a_ramp_is_never_steady(total: float) -> None:
    """Slower, or faster, all the time: there is no level to speak of, and the sign says which way it goes."""
    found = steadiness(noise(sd=0.002) * np.linspace(1, 1 + total, 60))
    assert found.since is None
    assert found.rise * total > 0


def test_a_ramp_within_the_tolerance_is_steady() -> None:
    """Half a percent over the series is what two parts of one run differ by."""
    assert steadiness(noise(sd=0.0005) * np.linspace(1, 1.005, 60)).since == 0


@pytest.mark.parametrize("levels", [[], [1.0] * 11, [1.0] * 11 + [0.0], [1.0] * 11 + [-1.0], [1.0] * 12 + [np.nan]])
def test_what_is_no_series_of_levels_is_refused(levels: list[float]) -> None:
    """Too few, or no positive finite numbers."""
    with pytest.raises(ValueError, match="levels must be"):
        steadiness(levels)
