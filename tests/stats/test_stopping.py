from __future__ import annotations

import itertools
import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from hil.stats import InterimAnalyses, percentile_bounds, samples_missing, samples_of_first_analysis, smallest_n

AMOUNT = st.floats(0.01, 1e6)


@given(AMOUNT, AMOUNT, st.floats(0.5, 0.9999))
def test_the_errors_of_all_analyses_add_up_to_the_allowed_error(first: float, most: float, confidence: float) -> None:
    """For any budget, the errors of all interim analyses add up to 1 - confidence."""
    plan = InterimAnalyses(first, most, confidence)
    error = math.fsum(1 - plan.level(number) for number in range(1, plan.count + 1))
    assert error == pytest.approx(1 - confidence)
    assert all(confidence <= plan.level(number) < 1 for number in range(1, plan.count + 1))


@given(AMOUNT, AMOUNT)
def test_analyses_grow_from_the_first_amount_to_the_budget(first: float, most: float) -> None:
    """The first analysis is at the first amount, each later one at most doubles it, and the last is at the budget."""
    ends = InterimAnalyses(first, most, 0.99).ends
    assert len(ends) == InterimAnalyses(first, most, 0.99).count
    assert ends[0] == first
    assert ends[-1] == pytest.approx(max(first, most))
    assert all(a < b <= 2 * a * (1 + 1e-9) for a, b in itertools.pairwise(ends))


@pytest.mark.parametrize("number", [0, -1, 5])
def test_an_unplanned_analysis_is_refused(number: int) -> None:
    """``level`` raises ``ValueError`` for a number that no planned analysis has."""
    with pytest.raises(ValueError, match="not one of 1 to 4"):
        InterimAnalyses(4, 20, 0.99).level(number)


def test_a_single_analysis_has_the_whole_error() -> None:
    """If the budget allows only one analysis, its level is the confidence itself."""
    assert InterimAnalyses(4, 4, 0.99).level(1) == 0.99
    assert InterimAnalyses(4, 1, 0.99).ends == (4,)


@pytest.mark.parametrize(("q", "n"), [(0.99, 688), (0.9, 66), (0.5, 10)])
def test_the_first_analysis_can_decide(q: float, n: int) -> None:
    """The first analysis has 1.5 times the smallest number of samples, enough for a bound at its level."""
    assert samples_of_first_analysis(q, 0.99) == n
    level = InterimAnalyses(n, 30 * n, 0.99).level(1)
    assert smallest_n(q, level) <= n
    assert percentile_bounds(np.arange(n), q, level)[1] < math.inf


def test_several_analyses_have_no_larger_error_than_one() -> None:
    """If the quantile is at the limit, a wrong pass over all analyses at 95 % occurs in at most 5 % of series."""
    random = np.random.default_rng(11)
    plan = InterimAnalyses(samples_of_first_analysis(0.9, 0.95), 5000, 0.95)
    naive = ours = 0
    for _ in range(1000):
        series = random.random(5000)
        prefixes = [series[: int(end)] for end in plan.ends]
        ours += any(percentile_bounds(s, 0.9, plan.level(k))[1] < 0.9 for k, s in enumerate(prefixes, 1))
        naive += any(percentile_bounds(s, 0.9, 0.95)[1] < 0.9 for s in prefixes)
    assert ours / 1000 <= 0.05
    assert naive / 1000 >= 0.10


def test_the_missing_samples_are_estimated() -> None:
    """``samples_missing`` grows with correlation, and is None if the share over the limit is exactly 1 - q."""
    missing = samples_missing(0.99, 0.99, 0.009, 1000, 1000)
    assert missing is not None
    assert missing > 10_000
    assert samples_missing(0.99, 0.99, 0.01, 1000, 1000) is None
    assert samples_missing(0.99, 0.99, 0.0, 1000, 1000) == 1000
    correlated = samples_missing(0.99, 0.99, 0.009, 1000, 100)
    assert correlated is not None
    assert correlated > 9 * missing
