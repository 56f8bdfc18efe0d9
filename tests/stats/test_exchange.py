from __future__ import annotations

import math

import numpy as np
import pytest
from scipy.stats import permutation_test

from hil.stats.exchange import ALL, DRAWN, permutation_p_value


def mean_difference(one: list[float], other: list[float]) -> float:
    """Return the difference of the means, the statistic for scipy's test."""
    return math.fsum(one) / len(one) - math.fsum(other) / len(other)


@pytest.mark.parametrize(("n", "m"), [(2, 2), (2, 3), (5, 5), (7, 4)])
@pytest.mark.parametrize("two_values", [False, True])
def test_few_values_give_scipys_exact_permutation_test(n: int, m: int, *, two_values: bool) -> None:
    """With few values all assignments are enumerated, and ties are counted."""
    for seed in range(10):
        random = np.random.default_rng(seed)
        values = random.integers(0, 2, n + m).astype(float) if two_values else random.normal(0, 1, n + m)
        one, other = values[:n].tolist(), values[n:].tolist()
        theirs = permutation_test(
            (one, other),
            lambda a, b: abs(mean_difference(list(a), list(b))),
            n_resamples=math.inf,
            alternative="greater",
        )
        assert permutation_p_value(one, other) == pytest.approx(theirs.pvalue)


def test_completely_separated_sides() -> None:
    """If all values of one side are above those of the other, p is 2 of all assignments; equal values have p = 1."""
    assert permutation_p_value([1, 2, 3, 4, 5], [6, 7, 8, 9, 10]) == 2 / 252
    assert permutation_p_value([3.0] * 5, [3.0] * 5) == 1


def test_assignments_of_many_values_are_drawn() -> None:
    """With over ten values per side, each call draws the same assignments; p is never 0, and is near scipy's."""
    assert math.comb(20, 10) <= ALL < math.comb(22, 11)
    random = np.random.default_rng(3)
    one, other = random.normal(0, 1, 30).tolist(), random.normal(0.6, 1, 30).tolist()
    p = permutation_p_value(one, other)
    assert p == permutation_p_value(one, other)
    theirs = permutation_test((one, other), mean_difference, n_resamples=10_000, rng=1).pvalue
    assert p == pytest.approx(theirs, abs=0.005)
    assert permutation_p_value([*range(30)], [*range(100, 130)]) == 1 / (DRAWN + 1)


def test_false_alarms_of_bimodal_runs_are_bounded() -> None:
    """If runs are 2 % slower at random and nothing changed, at most 1.8 % of 1,000 comparisons have p <= 1 %."""
    random = np.random.default_rng(4)
    alarms = sum(permutation_p_value(*random.choice([0.0, 0.02], (2, 7)).tolist()) <= 0.01 for _ in range(1000))
    assert alarms <= 18


@pytest.mark.parametrize("sides", [([], [1.0]), ([1.0], [])])
def test_a_side_without_values_is_refused(sides: tuple[list[float], list[float]]) -> None:
    """An empty side raises ``ValueError``."""
    with pytest.raises(ValueError, match="both sides"):
        permutation_p_value(*sides)
