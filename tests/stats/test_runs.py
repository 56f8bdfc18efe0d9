from __future__ import annotations

import math
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import ttest_1samp, ttest_ind

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

CLEAR = Comparison(1.05, 1.04, 1.06, 1e-6, (5, 5), 0.02, 0.99)


def runs(seed: int, n: int, sd: float, shift: float = 0.0) -> list[float]:
    """``n`` run values around ``1 + shift``, with a relative standard deviation."""
    return list(np.exp(np.random.default_rng(seed).normal(math.log1p(shift), sd, n)))


@pytest.mark.parametrize(("n", "m"), [(5, 5), (5, 12), (30, 6)])
def test_one_session_a_side_is_welchs_test_of_logarithms(n: int, m: int) -> None:
    """The p value and the interval are those of scipy's Welch test on the logarithms of the run values."""
    base, cand = runs(1, n, 0.01), runs(2, m, 0.02, 0.03)
    found = compare_runs([base], [cand], confidence=0.99)
    theirs = ttest_ind(np.log(cand), np.log(base), equal_var=False)
    interval = theirs.confidence_interval(0.99)
    assert found.p == pytest.approx(theirs.pvalue)
    assert (found.low, found.high) == pytest.approx((math.exp(interval.low), math.exp(interval.high)))
    assert found.ratio == pytest.approx(math.exp(np.log(cand).mean() - np.log(base).mean()))
    assert (found.runs, found.unit, found.noise) == ((n, m), "runs", None)


def test_five_sessions_a_side_are_compared_by_their_means() -> None:
    """A day that all its runs share is one value: a hundred runs of it are no hundred."""
    days = [runs(day, 1, 0.02)[0] for day in range(12)]
    base = [[day * value for value in runs(10 + at, 20, 0.001)] for at, day in enumerate(days[:6])]
    cand = [[day * value for value in runs(30 + at, 20, 0.001)] for at, day in enumerate(days[6:])]
    found = compare_runs(base, cand)
    theirs = ttest_ind(*([np.log(day).mean() for day in side] for side in (cand, base)), equal_var=False)
    assert found.unit == "sessions"
    assert found.p == pytest.approx(theirs.pvalue)
    assert judge_change(found, exclude=0.2) is not Change.WORSE
    pooled = compare_runs([sum(base, [])], [sum(cand, [])])  # noqa: RUF017 - twelve short lists
    assert pooled.high / pooled.low < found.high / found.low


def test_learned_noise_widens_the_interval() -> None:
    """What a board does from session to session counts, where one session a side cannot show it."""
    base, cand = runs(1, 10, 0.002), runs(2, 10, 0.002, 0.02)
    bare, known = compare_runs([base], [cand]), compare_runs([base], [cand], noise=0.01)
    assert judge_change(bare) is Change.WORSE
    assert judge_change(known) is Change.UNCLEAR
    assert (known.low, known.noise) < (bare.low, 0.011)
    assert known.visible > bare.visible
    assert compare_runs([base], [cand], noise=0.0).p == pytest.approx(bare.p)


def test_a_side_of_many_sessions_lends_its_spread() -> None:
    """One session beside ten others is held against how those ten differ, not against its own runs."""
    days = np.random.default_rng(5).normal(0, 0.02, 10)
    base = [[math.exp(day) * value for value in runs(at, 5, 0.001)] for at, day in enumerate(days)]
    cand = [[1.02 * value for value in runs(77, 5, 0.001)]]
    found = compare_runs(base, cand)
    assert found.noise == pytest.approx(days.std(ddof=1), rel=0.1)
    assert judge_change(found) is Change.UNCLEAR
    assert compare_runs(base, cand, noise=0.1).noise == 0.1


@pytest.mark.parametrize("alone", [([[1.0]], [[2.0]]), ([[1.0, 1.1, 0.9, 1, 1]], [[2.0]])])
def test_one_run_says_nothing_of_the_spread(alone: tuple[list[list[float]], list[list[float]]]) -> None:
    """One run on a side, though twice as slow, is compared with nothing: no interval, no power, no verdict."""
    found = compare_runs(*alone)
    assert (found.low, found.high, found.p, found.visible) == (0.0, math.inf, 1.0, math.inf)
    assert judge_change(found, exclude=10) is Change.UNCLEAR


@given(st.integers(1, FEWEST - 1), st.integers(1, 40))
def test_fewer_than_five_runs_a_side_are_never_judged(few: int, others: int) -> None:
    """Two runs that happen to agree have no spread, and would call any difference: alike or not, they are unclear."""
    for cand in (1.0, 2.0):
        assert judge_change(compare_runs([[1.0] * few], [[cand] * others])) is Change.UNCLEAR
        assert judge_change(compare_runs([[1.0] * others], [[cand] * few])) is Change.UNCLEAR


def test_runs_without_spread_compare_exactly() -> None:
    """Where all runs are alike the ratio is the ratio."""
    same, more = (compare_runs([[3.0] * 5], [[value] * 5]) for value in (3.0, 3.3))
    assert (same.ratio, same.low, same.high, same.p, judge_change(same)) == (1, 1, 1, 1, Change.SAME)
    assert (more.p, judge_change(more)) == (0, Change.WORSE)


@pytest.mark.parametrize("wrong", [[], [[]], [[math.nan] * 5], [[1.0, math.inf]], [[0.0] * 5], [[-1.0] * 5]])
def test_no_runs_and_no_numbers_are_refused(wrong: list[list[float]]) -> None:
    """A side without runs, or with one that is no positive number, is never compared as if it were one."""
    for pair in ((wrong, [[1.0] * 5]), ([[1.0] * 5], wrong)):
        with pytest.raises(ValueError, match=r"no runs|over zero"):
            compare_runs(*pair)


@pytest.mark.parametrize("settings", [{"confidence": 1.0}, {"noise": -1.0}, {"noise": math.nan}, {"above": -0.1}])
def test_impossible_settings_are_refused(settings: dict[str, float]) -> None:
    """A noise that is no number would vanish from the interval."""
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
def test_what_may_be_said(change: dict[str, Any], lower: Change, higher: Change) -> None:
    """A change is significant and beyond the least effect; alike is what excludes a worsening; all else is unclear."""
    found = replace(CLEAR, **change)
    assert (judge_change(found), judge_change(found, lower_is_better=False)) == (lower, higher)


def test_alpha_of_many_questions_is_stricter() -> None:
    """What one question alone would call may be chance among many."""
    found = replace(CLEAR, p=0.005)
    assert (judge_change(found), judge_change(found, alpha=0.001)) == (Change.WORSE, Change.UNCLEAR)


@given(st.lists(st.floats(0.5, 2), min_size=5, max_size=8), st.lists(st.floats(0.5, 2), min_size=5, max_size=8))
def test_sides_mirror(base: list[float], cand: list[float]) -> None:
    """Base and candidate exchanged give one over the ratio and its interval, and the same p; units do not matter."""
    there, back = compare_runs([base], [cand]), compare_runs([cand], [base])
    scaled = compare_runs([[1e-3 * value for value in base]], [[1e-3 * value for value in cand]])
    assert (back.ratio, back.low, back.high) == pytest.approx((1 / there.ratio, 1 / there.high, 1 / there.low))
    assert there.p == pytest.approx(back.p, abs=1e-12)
    assert there.low <= there.ratio <= there.high
    assert scaled.ratio == pytest.approx(there.ratio)


def test_a_visible_change_is_what_nine_of_ten_would_find() -> None:
    """With many runs, whose spread is as good as known, a true change of the visible size is called in about 90 %."""
    random = np.random.default_rng(4)
    visible = compare_runs([runs(1, 400, 0.05)], [runs(2, 400, 0.05)]).visible
    found = [
        judge_change(compare_runs(*([random.lognormal(mean, 0.05, 400).tolist()] for mean in (0, math.log1p(visible)))))
        for _ in range(400)
    ]
    assert 0.85 <= found.count(Change.WORSE) / 400 <= 0.95


def test_pairs_are_students_test_of_the_ratios_logarithms() -> None:
    """The p value and the interval are those of scipy's test of one sample; what a pair shares does not count."""
    ratios = runs(5, 9, 0.02, 0.03)
    found = compare_pairs(ratios, confidence=0.99)
    theirs = ttest_1samp(np.log(ratios), 0.0)
    interval = theirs.confidence_interval(0.99)
    assert found.p == pytest.approx(theirs.pvalue)
    assert (found.low, found.high) == pytest.approx((math.exp(interval.low), math.exp(interval.high)))
    assert (found.runs, found.unit) == ((9, 9), "pairs")


def test_fewer_than_eight_pairs_are_never_judged() -> None:
    """Seven that all point one way are 2 of 128 sign flips, whatever Student says; eight may be called."""
    ratios = runs(6, FEWEST_PAIRS, 0.001, 0.05)
    assert judge_change(compare_pairs(ratios)) is Change.WORSE
    assert judge_change(compare_pairs(ratios[:-1])) is Change.UNCLEAR
    assert judge_change(compare_pairs(ratios[:1])) is Change.UNCLEAR


@pytest.mark.parametrize("wrong", [[], [1.0, 0.0], [1.0, math.nan], [1.0, -1.0], [math.inf]])
def test_pairs_that_are_no_ratios_are_refused(wrong: list[float]) -> None:
    """Nothing, zero, less than that and what is not finite say nothing."""
    with pytest.raises(ValueError, match=r"pairs|finite"):
        compare_pairs(wrong)


@pytest.mark.parametrize("sd", [0.0, 0.005, 0.02])
def test_spread_tells_sessions_from_runs(sd: float) -> None:
    """Of 400 sessions both standard deviations come out, that of sessions freed of what their runs make of it."""
    random = np.random.default_rng(3)
    levels = random.normal(0, sd, (400, 1))
    found = spread_of(np.exp(levels + random.normal(0, 0.01, (400, 5))).tolist())
    assert found.runs == pytest.approx(0.01, rel=0.06)
    assert found.sessions == pytest.approx(sd, rel=0.2, abs=0.0025)


@pytest.mark.parametrize("wrong", [[], [[1.0, 1.0]], [[1.0], [1.0]], [[1.0, 1.0], [1.0]], [[1.0, 1.0], [1.0, 0.0]]])
def test_a_spread_needs_two_sessions_of_two_runs(wrong: list[list[float]]) -> None:
    """One session, one run each, unequal sessions and a value that is no time tell nothing apart."""
    with pytest.raises(ValueError, match=r"two sessions|finite"):
        spread_of(wrong)


def test_runs_of_two_kinds_are_no_change() -> None:
    """Six slow runs of seven beside one of seven is what Welch's test calls a change at 99 %, and chance deals out."""
    kinds = {"slow": 1.02, "fast": 1.0}
    base = [kinds["slow"]] + [kinds["fast"]] * 6
    cand = [kinds["fast"]] + [kinds["slow"]] * 6
    found = compare_runs([base], [cand])
    assert found.p <= 0.01 < found.dealt
    assert judge_change(found) is Change.SAME
    assert judge_change(replace(found, dealt=0.0)) is Change.WORSE
    apart = compare_runs([[1.0] * 7], [[1.02] * 7])
    assert apart.dealt == pytest.approx(2 / math.comb(14, 7))
    assert judge_change(apart) is Change.WORSE
