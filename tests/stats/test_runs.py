from __future__ import annotations

import math
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import ttest_1samp, ttest_ind

from hil.stats.power import power_of
from hil.stats.runs import (
    FEWEST,
    FEWEST_PAIRS,
    Change,
    Comparison,
    compare_pairs,
    compare_runs,
    judge_change,
    spread_of,
)

CLEAR = Comparison(1.05, 1.04, 1.06, 1e-6, (5, 5), 0.02, 0.99, noise=0.0)


def runs(seed: int, n: int, sd: float, shift: float = 0.0) -> list[float]:
    """Return ``n`` run values around ``1 + shift`` with the relative standard deviation ``sd``."""
    return list(np.exp(np.random.default_rng(seed).normal(math.log1p(shift), sd, n)))


@pytest.mark.parametrize(("n", "m"), [(5, 5), (5, 12), (30, 6)])
def test_one_session_per_side_is_compared_by_welchs_test(n: int, m: int) -> None:
    """The p value and the interval are those of scipy's Welch test on the logarithms of the run values."""
    base, cand = runs(1, n, 0.01), runs(2, m, 0.02, 0.03)
    comparison = compare_runs([base], [cand], confidence=0.99)
    expected = ttest_ind(np.log(cand), np.log(base), equal_var=False)
    interval = expected.confidence_interval(0.99)
    assert comparison.p == pytest.approx(expected.pvalue)
    assert (comparison.low, comparison.high) == pytest.approx((math.exp(interval.low), math.exp(interval.high)))
    assert comparison.ratio == pytest.approx(math.exp(np.log(cand).mean() - np.log(base).mean()))
    assert (comparison.runs, comparison.unit, comparison.noise) == ((n, m), "runs", None)


def test_five_sessions_per_side_are_compared_by_their_means() -> None:
    """With five sessions or more on each side, the mean of a session is one value, whatever its number of runs."""
    days = [runs(day, 1, 0.02)[0] for day in range(12)]
    base = [[day * value for value in runs(10 + at, 20, 0.001)] for at, day in enumerate(days[:6])]
    cand = [[day * value for value in runs(30 + at, 20, 0.001)] for at, day in enumerate(days[6:])]
    comparison = compare_runs(base, cand)
    expected = ttest_ind(*([np.log(day).mean() for day in side] for side in (cand, base)), equal_var=False)
    assert comparison.unit == "sessions"
    assert comparison.p == pytest.approx(expected.pvalue)
    assert judge_change(comparison, exclude=0.2) is not Change.WORSE
    pooled = compare_runs([sum(base, [])], [sum(cand, [])])  # noqa: RUF017 - twelve short lists
    assert pooled.high / pooled.low < comparison.high / comparison.low


def test_calibrated_noise_widens_the_interval() -> None:
    """With one session per side, the calibrated noise between sessions is added to the interval."""
    base, cand = runs(1, 10, 0.002), runs(2, 10, 0.002, 0.02)
    plain, calibrated = (compare_runs([base], [cand], noise=noise) for noise in (0.0, 0.01))
    assert judge_change(plain) is Change.WORSE
    assert judge_change(calibrated) is Change.UNCLEAR
    assert (calibrated.low, calibrated.noise) < (plain.low, 0.011)
    assert calibrated.visible > plain.visible
    assert compare_runs([base], [cand]).p == pytest.approx(plain.p)
    assert compare_runs([base], [cand], noise=0.01, noise_df=5).high > calibrated.high


def test_the_spread_of_a_side_with_many_sessions_is_used() -> None:
    """One session is compared with ten others by the spread between those ten, not by the spread of its own runs."""
    days = np.random.default_rng(5).normal(0, 0.02, 10)
    base = [[math.exp(day) * value for value in runs(at, 5, 0.001)] for at, day in enumerate(days)]
    cand = [[1.02 * value for value in runs(77, 5, 0.001)]]
    comparison = compare_runs(base, cand)
    assert comparison.noise == pytest.approx(days.std(ddof=1), rel=0.1)
    assert judge_change(comparison) is Change.UNCLEAR
    assert compare_runs(base, cand, noise=0.1).noise == 0.1


@pytest.mark.parametrize("single", [([[1.0]], [[2.0]]), ([[1.0, 1.1, 0.9, 1, 1]], [[2.0]])])
def test_one_run_has_no_spread(single: tuple[list[list[float]], list[list[float]]]) -> None:
    """With one run on a side there is no interval, no detectable change and no verdict, even if it is twice as slow."""
    comparison = compare_runs(*single)
    assert (comparison.low, comparison.high, comparison.p, comparison.visible) == (0.0, math.inf, 1.0, math.inf)
    assert judge_change(comparison, exclude=10) is Change.UNCLEAR


@given(st.integers(1, FEWEST - 1), st.integers(1, 40))
def test_fewer_than_five_runs_a_side_are_never_judged(few: int, others: int) -> None:
    """Comparisons with fewer than five runs a side are unclear."""
    for cand in (1.0, 2.0):
        assert judge_change(compare_runs([[1.0] * few], [[cand] * others])) is Change.UNCLEAR
        assert judge_change(compare_runs([[1.0] * others], [[cand] * few])) is Change.UNCLEAR


def test_runs_without_spread_compare_exactly() -> None:
    """If the runs of each side are equal, the interval is the ratio itself."""
    same, more = (compare_runs([[3.0] * 5], [[value] * 5], noise=0.0) for value in (3.0, 3.3))
    assert (same.ratio, same.low, same.high, same.p, judge_change(same)) == (1, 1, 1, 1, Change.SAME)
    assert (more.p, judge_change(more)) == (0, Change.WORSE)


@pytest.mark.parametrize("wrong", [[], [[]], [[math.nan] * 5], [[1.0, math.inf]], [[0.0] * 5], [[-1.0] * 5]])
def test_missing_runs_and_invalid_values_are_refused(wrong: list[list[float]]) -> None:
    """A side without runs, or with a value that is not finite and positive, raises ``ValueError``."""
    for pair in ((wrong, [[1.0] * 5]), ([[1.0] * 5], wrong)):
        with pytest.raises(ValueError, match=r"no runs|finite and positive"):
            compare_runs(*pair)


@pytest.mark.parametrize(
    "settings", [{"confidence": 1.0}, {"noise": -1.0}, {"noise": math.nan}, {"above": -0.1}, {"noise_df": 0}]
)
def test_impossible_settings_are_refused(settings: dict[str, float]) -> None:
    """A NaN as noise would not widen the interval, so it raises ``ValueError``."""
    with pytest.raises(ValueError, match="must be"):
        compare_runs([[1.0] * 5], [[1.0] * 5], **settings)


@pytest.mark.parametrize(
    ("change", "lower", "higher"),
    [
        ({}, Change.WORSE, Change.BETTER),
        ({"ratio": 0.95, "low": 0.94, "high": 0.96}, Change.BETTER, Change.WORSE),
        ({"ratio": 1.009, "low": 1.005, "high": 1.013}, Change.SAME, Change.SAME),
        ({"p": 0.011, "low": 0.999, "high": 1.101}, Change.UNCLEAR, Change.SAME),
        ({"p": 0.5, "ratio": 1.0, "low": 0.96, "high": 1.04}, Change.SAME, Change.SAME),
        ({"p": 0.5, "ratio": 1.0, "low": 0.94, "high": 1.06}, Change.UNCLEAR, Change.UNCLEAR),
        ({"ratio": math.nan}, Change.UNCLEAR, Change.UNCLEAR),
        ({"p": math.nan}, Change.UNCLEAR, Change.UNCLEAR),
        ({"low": math.nan, "high": math.nan, "p": 1.0}, Change.UNCLEAR, Change.UNCLEAR),
        ({"runs": (5, 4)}, Change.UNCLEAR, Change.UNCLEAR),
    ],
)
def test_change_of_a_comparison(change: dict[str, Any], lower: Change, higher: Change) -> None:
    """A change is significant and beyond ``above``; ``same`` excludes a worsening by 5 %; anything else is unclear."""
    comparison = replace(CLEAR, **change)
    assert (judge_change(comparison), judge_change(comparison, lower_is_better=False)) == (lower, higher)


@pytest.mark.parametrize(
    ("factor", "expected"),
    [(1.0, Change.SAME), (1.03, Change.SAME), (1.06, Change.UNCLEAR), (0.96, Change.SAME), (0.57, Change.UNCLEAR)],
)
@pytest.mark.parametrize("lower", [True, False])
def test_one_session_a_side_of_unknown_noise_is_never_a_change(factor: float, expected: Change, *, lower: bool) -> None:
    """With unknown noise, no change is better or worse, and a gain of 43 % is not called the same."""
    base, cand = runs(1, 7, 0.001), [factor * value for value in runs(2, 7, 0.001)]
    assert judge_change(compare_runs([base], [cand]), lower_is_better=lower) is expected
    assert judge_change(compare_runs([base] * 4, [cand] * 4), lower_is_better=lower) is expected


def test_alpha_is_stricter_for_several_comparisons() -> None:
    """A p value that is significant for one comparison may not be for several."""
    comparison = replace(CLEAR, p=0.005)
    assert (judge_change(comparison), judge_change(comparison, alpha=0.001)) == (Change.WORSE, Change.UNCLEAR)


@given(st.lists(st.floats(0.5, 2), min_size=5, max_size=8), st.lists(st.floats(0.5, 2), min_size=5, max_size=8))
def test_swapped_sides_give_the_reciprocal(base: list[float], cand: list[float]) -> None:
    """Swapping base and candidate gives the reciprocal ratio and bounds and the same p; scaling has no effect."""
    forward, back = compare_runs([base], [cand]), compare_runs([cand], [base])
    scaled = compare_runs([[1e-3 * value for value in base]], [[1e-3 * value for value in cand]])
    assert (back.ratio, back.low, back.high) == pytest.approx((1 / forward.ratio, 1 / forward.high, 1 / forward.low))
    assert forward.p == pytest.approx(back.p, abs=1e-12)
    assert forward.low <= forward.ratio <= forward.high
    assert scaled.ratio == pytest.approx(forward.ratio)


@pytest.mark.parametrize(("sd", "n"), [(0.05, 400), (0.01, 100)])
def test_a_visible_change_has_90_percent_power(sd: float, n: int) -> None:
    """With many runs on each side, a change of the visible size is detected in about 90 % of cases."""
    visible = compare_runs([runs(1, n, sd)], [runs(2, n, sd)]).visible
    assert power_of(n, sd, visible) == pytest.approx(0.9, abs=0.03)


def test_pairs_are_students_test_of_the_ratios_logarithms() -> None:
    """The p value and the interval are those of scipy's one-sample t test of the logarithms."""
    ratios = runs(5, 9, 0.02, 0.03)
    comparison = compare_pairs(ratios, confidence=0.99)
    expected = ttest_1samp(np.log(ratios), 0.0)
    interval = expected.confidence_interval(0.99)
    assert comparison.p == pytest.approx(expected.pvalue)
    assert (comparison.low, comparison.high) == pytest.approx((math.exp(interval.low), math.exp(interval.high)))
    assert (comparison.runs, comparison.unit) == ((9, 9), "pairs")


def test_fewer_than_eight_pairs_are_never_judged() -> None:
    """Comparisons of fewer than eight pairs are unclear."""
    ratios = runs(6, FEWEST_PAIRS, 0.001, 0.05)
    assert judge_change(compare_pairs(ratios)) is Change.WORSE
    assert judge_change(compare_pairs(ratios[:-1])) is Change.UNCLEAR
    assert judge_change(compare_pairs(ratios[:1])) is Change.UNCLEAR


@pytest.mark.parametrize("wrong", [[], [1.0, 0.0], [1.0, math.nan], [1.0, -1.0], [math.inf]])
def test_invalid_ratios_are_refused(wrong: list[float]) -> None:
    """No ratios, and ratios that are not finite and positive, raise ``ValueError``."""
    with pytest.raises(ValueError, match=r"pairs|finite"):
        compare_pairs(wrong)


@pytest.mark.parametrize("sd", [0.0, 0.005, 0.02])
def test_spread_separates_sessions_from_runs(sd: float) -> None:
    """The standard deviations within and between 400 simulated sessions are recovered."""
    random = np.random.default_rng(3)
    levels = random.normal(0, sd, (400, 1))
    spread = spread_of(np.exp(levels + random.normal(0, 0.01, (400, 5))).tolist())
    assert spread.runs == pytest.approx(0.01, rel=0.06)
    assert spread.sessions == pytest.approx(sd, rel=0.2, abs=0.0025)


@pytest.mark.parametrize("wrong", [[], [[1.0, 1.0]], [[1.0], [1.0]], [[1.0, 1.0], [1.0]], [[1.0, 1.0], [1.0, 0.0]]])
def test_a_spread_needs_two_sessions_of_two_runs(wrong: list[list[float]]) -> None:
    """One session, one run per session, unequal sessions and a value of zero raise ``ValueError``."""
    with pytest.raises(ValueError, match=r"two or more sessions|finite"):
        spread_of(wrong)


def test_bimodal_runs_are_not_a_change() -> None:
    """Six slow runs of seven against one of seven is significant at 99 % by Welch's test, but not by permutation."""
    kinds = {"slow": 1.02, "fast": 1.0}
    base = [kinds["slow"]] + [kinds["fast"]] * 6
    cand = [kinds["fast"]] + [kinds["slow"]] * 6
    comparison = compare_runs([base], [cand], noise=0.0)
    assert comparison.p <= 0.01 < comparison.permutation_p
    assert judge_change(comparison) is Change.SAME
    assert judge_change(replace(comparison, permutation_p=0.0)) is Change.WORSE
    apart = compare_runs([[1.0] * 7], [[1.02] * 7], noise=0.0)
    assert apart.permutation_p == pytest.approx(2 / math.comb(14, 7))
    assert judge_change(apart) is Change.WORSE
