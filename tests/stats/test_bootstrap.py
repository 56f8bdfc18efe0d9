from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from hil.stats import (
    bootstrap_drop,
)


@given(st.lists(st.sampled_from([0.0, 1.0]), min_size=1, max_size=300))
def test_equal_scores_lose_nothing(scores: list[float]) -> None:
    """For equal scores the drop and its bounds are exactly zero."""
    assert bootstrap_drop(scores, scores, 0.95, 0, resamples=50) == (0.0, 0.0, 0.0)


def test_bootstrap_is_paired() -> None:
    """Samples that are difficult for both sides do not widen the interval."""
    hard = np.random.default_rng(0).normal(0, 10, 200)
    _, low, high = bootstrap_drop(hard, hard - 1, 0.95, 0)
    assert low == pytest.approx(1)
    assert high == pytest.approx(1)


def test_bootstrap_repeats_with_its_seed() -> None:
    """Equal seeds give equal bounds, also if the resamples are drawn in several blocks."""
    ours, theirs = np.random.default_rng(0).random((2, 1500))  # 699 resamples a block
    bounds = [bootstrap_drop(ours, theirs, 0.95, 4, resamples=1000) for _ in range(2)]
    assert bounds[0] == bounds[1]


def test_bootstrap_covers_the_true_drop() -> None:
    """At 95 %, the upper bound is below the true drop in at most 10 % of 200 experiments (5 % expected)."""
    random = np.random.default_rng(9)
    under = 0
    for trial in range(200):
        ours = random.random(300) < 0.95
        theirs = ours & (random.random(300) < 0.95)
        under += bootstrap_drop(ours, theirs, 0.95, trial, resamples=200)[2] < 0.95 * 0.05
    assert under / 200 <= 0.10


def test_a_relative_drop_from_zero_is_infinite() -> None:
    """If the reference's mean is zero, a relative drop is infinite, or zero for equal scores."""
    assert bootstrap_drop(np.zeros(5), -np.ones(5), 0.95, 0, relative=True)[0] == math.inf
    assert bootstrap_drop(np.zeros(5), np.zeros(5), 0.95, 0, relative=True) == (0, 0, 0)


@pytest.mark.parametrize(("ours", "theirs"), [([], []), ([1.0], [math.nan]), ([1.0], [1.0, 2.0])])
def test_scores_that_do_not_pair_are_refused(ours: list[float], theirs: list[float]) -> None:
    """Empty, non-finite and unequally long scores raise ``ValueError``."""
    with pytest.raises(ValueError, match=r"finite|no samples|shape"):
        bootstrap_drop(ours, theirs, 0.95, 0)
