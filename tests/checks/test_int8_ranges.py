from __future__ import annotations

import math
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hil.checks import int8_ranges
from hil.checks.int8_ranges import RangesFacts, RepeatFacts, TensorUse, drift
from hil.results import Limit, Sense, Verdict

LIMIT = Limit(value=0.05, unit="1", sense=Sense.AT_MOST, source="default")
USE = TensorUse("relu1", top=1.0, peak=1.2, beyond=1, n=1000, lost=1e-4)
SCALES = {"a": [0.1], "w": [0.2, 0.3]}


def verdict(*uses: TensorUse, samples: int = 50, synthetic: bool = False) -> Verdict:
    """Return the verdict on these tensors."""
    return int8_ranges.ranges(RangesFacts(uses, samples, synthetic=synthetic), LIMIT).verdict


def test_a_fitting_range_passes_and_the_worst_is_named() -> None:
    """The measurement is the worst tensor's rate of clipped elements, with the number of all elements."""
    judged = int8_ranges.ranges(RangesFacts([USE, replace(USE, name="worse", beyond=20)], 50), LIMIT)
    assert judged.verdict is Verdict.PASSED
    assert judged.measurement is not None
    assert (judged.measurement.value, judged.measurement.n) == (0.02, 2000)
    assert "'worse'" in judged.reason


def test_ranges_without_observations_are_inconclusive() -> None:
    """Without tensors, samples, elements or finite values the check is inconclusive."""
    assert verdict() is Verdict.INCONCLUSIVE
    assert verdict(USE, samples=0) is Verdict.INCONCLUSIVE
    assert verdict(replace(USE, n=0)) is Verdict.INCONCLUSIVE
    assert verdict(replace(USE, peak=math.nan)) is Verdict.INCONCLUSIVE
    assert verdict(USE, replace(USE, top=math.inf)) is Verdict.INCONCLUSIVE


def test_clipping_fails_by_rate_and_by_energy() -> None:
    """Many values beyond a range fail, and so do few that carry much of the energy."""
    assert verdict(replace(USE, beyond=51)) is Verdict.FAILED
    assert verdict(USE, replace(USE, beyond=2, lost=0.04)) is Verdict.FAILED
    assert verdict(replace(USE, beyond=50, lost=0.03)) is Verdict.PASSED


def test_clipping_of_few_elements_by_chance_is_inconclusive() -> None:
    """Two of 24 elements may be clipped by chance at a rate within the limit; a third of them, or 2 of 24,000, fail."""
    few = replace(USE, name="few", n=24, beyond=2)
    judged = int8_ranges.ranges(RangesFacts([USE, few], 24), LIMIT)
    assert judged.verdict is Verdict.INCONCLUSIVE
    assert "'few' is clipped most" in judged.reason
    assert "give more validation samples" in judged.reason
    assert verdict(USE, replace(few, beyond=8)) is Verdict.FAILED
    assert verdict(few, replace(USE, n=24_000, beyond=2000)) is Verdict.FAILED


def test_a_stretched_range_fails_unless_it_is_shared() -> None:
    """A range over four times as wide as its values fails; tensors that share a range count together."""
    wide = replace(USE, name="pool", top=10.0, peak=2.0, beyond=0, lost=0.0)
    judged = int8_ranges.ranges(RangesFacts([USE, wide], 50), LIMIT)
    assert judged.verdict is Verdict.FAILED
    assert "'pool' is too wide" in judged.reason
    judged = int8_ranges.ranges(RangesFacts([USE, replace(wide, peak=1.0), replace(wide, name="conv")], 50), LIMIT)
    assert "'pool' and 1 more is too wide: it reaches 10, validation only 2:" in judged.reason
    assert verdict(wide, replace(wide, name="conv", peak=9.0)) is Verdict.PASSED
    assert verdict(USE, replace(wide, peak=0.0)) is Verdict.PASSED  # a tensor of zeros shows no stretch


def test_synthetic_data_warns() -> None:
    """Ranges observed on random values pass only as a warning."""
    assert verdict(USE, synthetic=True) is Verdict.WARNED
    assert verdict(replace(USE, beyond=900), synthetic=True) is Verdict.FAILED


def repeated(again: dict[str, list[float]], samples: int = 8) -> Verdict:
    """Return the verdict on a second calibration with these scales."""
    return int8_ranges.repeatable(RepeatFacts(SCALES, again, samples)).verdict


def test_the_same_ranges_are_repeatable() -> None:
    """Ranges may differ by 0.05 % between two calibrations; a difference of 0.2 % fails."""
    assert repeated(SCALES) is Verdict.PASSED
    assert repeated({**SCALES, "a": [0.1 * (1 + 5e-4)]}) is Verdict.PASSED
    assert repeated({**SCALES, "a": [0.1 * (1 + 2e-3)]}) is Verdict.FAILED


@pytest.mark.parametrize(
    "again",
    [
        {"a": [0.1]},
        {**SCALES, "b": [0.1]},
        {"a": [0.1], "x": [0.2, 0.3]},
        {**SCALES, "w": [0.2]},
        {**SCALES, "a": [0.0]},
        {**SCALES, "a": [math.nan]},
        {**SCALES, "a": [-0.1]},
    ],
)
def test_missing_tensors_channels_or_scales_fail(again: dict[str, list[float]]) -> None:
    """A tensor that is missing or renamed, or that has other channels or an invalid scale, fails."""
    assert repeated(again) is Verdict.FAILED


def test_an_empty_repetition_is_inconclusive() -> None:
    """Without scales on both sides, or without samples, the check is inconclusive."""
    assert repeated({}) is Verdict.INCONCLUSIVE
    assert repeated(SCALES, samples=0) is Verdict.INCONCLUSIVE
    assert int8_ranges.repeatable(RepeatFacts({}, {}, 8)).verdict is Verdict.INCONCLUSIVE


positive = st.lists(st.floats(1e-6, 1e6), min_size=1, max_size=3)
sets = st.dictionaries(st.sampled_from("abcde"), positive, max_size=5)


@given(sets, sets)
def test_drift_accounts_for_every_tensor(old: dict[str, list[float]], new: dict[str, list[float]]) -> None:
    """Each tensor is in exactly one of moved, gone and new; equal sets have no drift."""
    drifted = drift(old, new)
    assert sorted([*(name for name, _ in drifted.moved), *drifted.gone, *drifted.new]) == sorted(set(old) | set(new))
    assert [abs(change) for _, change in drifted.moved] == sorted((abs(c) for _, c in drifted.moved), reverse=True)
    assert (drift(old, old).worst, drift(old, old).gone, drift(old, old).new) == (0.0, (), ())
