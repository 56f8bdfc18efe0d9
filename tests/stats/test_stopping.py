from __future__ import annotations

import itertools
import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from hil.stats import Looks, first_look, percentile_bounds, samples_missing, smallest_n

AMOUNT = st.floats(0.01, 1e6)


@given(AMOUNT, AMOUNT, st.floats(0.5, 0.9999))
def test_all_looks_together_spend_the_error_and_no_more(first: float, most: float, confidence: float) -> None:
    """Whatever the budget: the errors of all looks that may be taken add up to what is allowed."""
    plan = Looks(first, most, confidence)
    spent = math.fsum(1 - plan.level(look) for look in range(1, plan.count + 1))
    assert spent == pytest.approx(1 - confidence)
    assert all(confidence <= plan.level(look) < 1 for look in range(1, plan.count + 1))


@given(AMOUNT, AMOUNT)
def test_looks_grow_from_the_first_amount_to_the_budget(first: float, most: float) -> None:
    """Nothing is looked at before the first amount; a look at most doubles the one before; the last is the budget."""
    ends = Looks(first, most, 0.99).ends
    assert len(ends) == Looks(first, most, 0.99).count
    assert ends[0] == first
    assert ends[-1] == pytest.approx(max(first, most))
    assert all(a < b <= 2 * a * (1 + 1e-9) for a, b in itertools.pairwise(ends))


@pytest.mark.parametrize("look", [0, -1, 5])
def test_a_look_that_was_not_planned_has_no_level(look: int) -> None:
    """Looking once more than planned is refused: its error was not set aside."""
    with pytest.raises(ValueError, match="none of 4"):
        Looks(4, 20, 0.99).level(look)


def test_one_look_has_the_whole_error() -> None:
    """A budget that allows no second look takes nothing from the first."""
    assert Looks(4, 4, 0.99).level(1) == 0.99
    assert Looks(4, 1, 0.99).ends == (4,)


@pytest.mark.parametrize(("q", "n"), [(0.99, 688), (0.9, 66), (0.5, 10)])
def test_the_first_look_may_already_decide(q: float, n: int) -> None:
    """It is at 1.5 times the smallest number of samples, and as many bound the percentile at the first level."""
    assert first_look(q, 0.99) == n
    level = Looks(n, 30 * n, 0.99).level(1)
    assert smallest_n(q, level) <= n
    assert percentile_bounds(np.arange(n), q, level)[1] < math.inf


def test_looking_often_errs_no_more_than_looking_once() -> None:
    """At the limit itself a pass is wrong: over all looks it comes in at most 5 % of series at 95 %."""
    random = np.random.default_rng(11)
    plan = Looks(first_look(0.9, 0.95), 5000, 0.95)
    naive = ours = 0
    for _ in range(1000):
        series = random.random(5000)
        looks = [series[: int(end)] for end in plan.ends]
        ours += any(percentile_bounds(s, 0.9, plan.level(k))[1] < 0.9 for k, s in enumerate(looks, 1))
        naive += any(percentile_bounds(s, 0.9, 0.95)[1] < 0.9 for s in looks)
    assert ours / 1000 <= 0.05
    assert naive / 1000 >= 0.10


def test_more_samples_are_always_more() -> None:
    """What is missing is above zero, grows with correlation, and is unknown on the line."""
    missing = samples_missing(0.99, 0.99, 0.009, 1000, 1000)
    assert missing is not None
    assert missing > 10_000
    assert samples_missing(0.99, 0.99, 0.01, 1000, 1000) is None
    assert samples_missing(0.99, 0.99, 0.0, 1000, 1000) == 1000
    correlated = samples_missing(0.99, 0.99, 0.009, 1000, 100)
    assert correlated is not None
    assert correlated > 9 * missing
