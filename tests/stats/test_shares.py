"""Bounds of the mean of values from 0 to 1."""

from __future__ import annotations

import numpy as np
import pytest

from hil.stats import share_bounds


def test_nothing_observed_excludes_nothing() -> None:
    """Without values, the bounds are 0 and 1."""
    assert share_bounds([], 0.95) == (0.0, 1.0)


def test_no_change_in_48_samples_excludes_little() -> None:
    """48 samples without a change exclude only a share above 6.05 %."""
    low, high = share_bounds(np.zeros(48), 0.95)
    assert low == 0
    assert high == pytest.approx(1 - 0.05 ** (1 / 48))


def test_counts_have_the_bounds_of_clopper_and_pearson() -> None:
    """Values of 0 and 1 have exact binomial bounds: 5 of 100 at 95 % (tables of the beta distribution)."""
    low, high = share_bounds([1] * 5 + [0] * 95, 0.95)
    assert low == pytest.approx(0.0199, abs=1e-4)
    assert high == pytest.approx(0.1022, abs=1e-4)


def test_copies_count_once() -> None:
    """A hundred copies of ten samples have wider bounds than a hundred samples."""
    assert share_bounds(np.zeros(100), 0.95, 10)[1] == pytest.approx(share_bounds(np.zeros(10), 0.95)[1])
    assert share_bounds(np.full(100, 0.5), 0.95, 10)[1] > share_bounds(np.full(100, 0.5), 0.95)[1]


@pytest.mark.parametrize("wrong", [[-0.1, 0.5], [0.5, 1.1], [np.nan]])
def test_no_share(wrong: list[float]) -> None:
    """A value that is not from 0 to 1 is refused."""
    with pytest.raises(ValueError, match=r"values|finite"):
        share_bounds(wrong, 0.95)


@pytest.mark.parametrize(("mean", "most"), [(0.05, 1.0), (0.05, 0.2), (0.03, 0.031)])
def test_the_bounds_cover_the_mean(mean: float, most: float) -> None:
    """Each bound misses the true mean in 5 % of draws, within chance, for rare large values and for similar ones."""
    random = np.random.default_rng(1)
    missed = np.zeros(2)
    for _ in range(100):
        values = most * (random.random(120) < mean / most) * np.where(random.random(120) < 0.5, 1.0, 0.999999)
        low, high = share_bounds(values, 0.95)
        missed += [low > mean, high < mean * 0.999999]
    assert (missed <= 100 * 0.05 + 7).all()


def test_values_of_small_spread_have_close_bounds() -> None:
    """Values of small spread have closer bounds than rare large values of the same mean."""
    alike = share_bounds(np.tile([0.02, 0.03], 128), 0.95)[1]
    assert alike < share_bounds(np.repeat([1.0, 0.0], [7, 249]), 0.95)[1]
