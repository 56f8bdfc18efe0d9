from __future__ import annotations

import math

import numpy as np
import pytest
from scipy.stats import permutation_test

from hil.stats.exchange import ALL, DRAWN, exchanged


def apart(one: list[float], other: list[float]) -> float:
    """The difference of the means, as scipy wants a statistic."""
    return math.fsum(one) / len(one) - math.fsum(other) / len(other)


@pytest.mark.parametrize(("n", "m"), [(2, 2), (2, 3), (5, 5), (7, 4)])
@pytest.mark.parametrize("kinds", [False, True])
def test_it_is_scipys_exact_permutation_test(n: int, m: int, *, kinds: bool) -> None:
    """Of few values every dealing counts, ties as often as they come."""
    for seed in range(10):
        random = np.random.default_rng(seed)
        values = random.integers(0, 2, n + m).astype(float) if kinds else random.normal(0, 1, n + m)
        one, other = values[:n].tolist(), values[n:].tolist()
        theirs = permutation_test(
            (one, other), lambda a, b: abs(apart(list(a), list(b))), n_resamples=math.inf, alternative="greater"
        )
        assert exchanged(one, other) == pytest.approx(theirs.pvalue)


def test_all_of_one_side_over_all_of_the_other() -> None:
    """Five and five apart are two dealings of 252; values that are all alike tell nothing."""
    assert exchanged([1, 2, 3, 4, 5], [6, 7, 8, 9, 10]) == 2 / 252
    assert exchanged([3.0] * 5, [3.0] * 5) == 1


def test_of_many_values_dealings_are_drawn() -> None:
    """Beyond ten and ten the same dealings are drawn each time, p is never 0, and it is right where theory knows it."""
    assert math.comb(20, 10) <= ALL < math.comb(22, 11)
    random = np.random.default_rng(3)
    one, other = random.normal(0, 1, 30).tolist(), random.normal(0.6, 1, 30).tolist()
    p = exchanged(one, other)
    assert p == exchanged(one, other)
    theirs = permutation_test((one, other), apart, n_resamples=50_000, rng=1).pvalue
    assert p == pytest.approx(theirs, abs=0.005)
    assert exchanged([*range(30)], [*range(100, 130)]) == 1 / (DRAWN + 1)


def test_false_alarms_hold_for_runs_of_two_kinds() -> None:
    """Half of the runs 2 % slower and nothing changed: 1 in 100 of 2,000 comparisons, by chance 1.6."""
    random = np.random.default_rng(4)
    alarms = sum(exchanged(*random.choice([0.0, 0.02], (2, 7)).tolist()) <= 0.01 for _ in range(2000))
    assert alarms <= 32


@pytest.mark.parametrize("sides", [([], [1.0]), ([1.0], [])])
def test_a_side_without_values_is_refused(sides: tuple[list[float], list[float]]) -> None:
    """Nothing is no side."""
    with pytest.raises(ValueError, match="two sides"):
        exchanged(*sides)
