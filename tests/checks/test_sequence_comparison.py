"""Sequences are compared whole: which pass, which fail, and which prove nothing."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

from hil.checks.comparison import Comparison
from hil.checks.sequence_comparison import SequenceComparison
from hil.config.spec import TolerancesSpec
from hil.results import Judgement, Verdict

if TYPE_CHECKING:
    from collections.abc import Callable

    Array = np.ndarray[Any, Any]
    Fault = Callable[[Array], Array]

STEPS, WIDTH = 300, 3


def signals(count: int = 8, steps: int = STEPS, seed: int = 0) -> Array:
    """Return smooth sequences [sequences, steps, 3]."""
    noise = np.random.default_rng(seed).normal(size=(count, steps, WIDTH))
    return np.stack([np.sin(np.cumsum(0.3 * one, axis=0)) for one in noise]).astype(np.float32)


def judged(
    reference: Array,
    fault: Fault | None = None,
    spec: TolerancesSpec | None = None,
    distinct: int | None = None,
    **options: Any,
) -> Judgement:
    """Return the judgement of an engine that gives ``fault(sequence)`` instead of each sequence."""
    comparison = SequenceComparison(Comparison("fp32", spec, distinct=distinct), **options)
    for one in reference:
        comparison.update([("y", one)], [("y", one if fault is None else fault(one))])
    return comparison.judge()


def noisy(scale: float) -> Fault:
    """Return a fault that adds rounding errors of this size."""
    random = np.random.default_rng(1)
    return lambda one: (one + scale * random.normal(size=one.shape)).astype(np.float32)


def from_step(step: int, add: Fault) -> Fault:
    """Return a fault that adds ``add(steps since then)`` to all elements from ``step`` on."""

    def fault(one: Array) -> Array:
        after = np.maximum(np.arange(len(one)) - step, 0)
        return (one + np.where(np.arange(len(one)) >= step, add(after), 0)[:, None]).astype(np.float32)

    return fault


@pytest.mark.parametrize("scale", [0.0, 1e-7, 1e-5])
def test_rounding_passes(scale: float) -> None:
    """Rounding errors that do not grow pass; the sample count is that of the sequences."""
    judgement = judged(signals(), noisy(scale))
    assert judgement.verdict is Verdict.PASSED, judgement.reason
    assert judgement.measurement is not None
    assert judgement.measurement.n == 8
    assert "8 sequences of 300 steps" in judgement.reason


def test_a_drift_that_begins_late_fails_with_its_step() -> None:
    """A drift from step 200 on is named with the step, although the mean over all steps is small."""
    judgement = judged(signals(), from_step(200, lambda after: 0.001 * after))
    assert judgement.verdict is Verdict.FAILED
    assert judgement.details["first_beyond"]["output"] == "y"
    assert 200 < judgement.details["first_beyond"]["step"] < 260


def test_nan_late_in_a_sequence_fails_with_its_step() -> None:
    """One NaN after step 200 of one sequence fails, whatever the tolerances are."""

    def fault(one: Array) -> Array:
        bad: Array = np.array(one)
        bad[220, 1] = np.nan
        return bad

    judgement = judged(signals(), fault, spec=TolerancesSpec(slice_error=9.0))
    assert judgement.verdict is Verdict.FAILED
    assert "from step 220 of sequence 0 on" in judgement.reason


def test_missing_steps_fail() -> None:
    """An engine that returns too few steps of a sequence fails."""
    judgement = judged(signals(), lambda one: one[:-1])
    assert judgement.verdict is Verdict.FAILED
    assert "the last 1 steps are missing" in judgement.reason


def test_missing_sequences_fail() -> None:
    """Fewer sequences than declared, or none, never pass."""
    assert judged(signals(3), sequences=4).verdict is Verdict.FAILED
    assert judged(np.empty((0, STEPS, WIDTH))).verdict is Verdict.FAILED


def test_constant_outputs_do_not_pass() -> None:
    """Outputs that never change do not pass, on both sides or only in the engine."""
    assert judged(np.ones((8, STEPS, WIDTH), np.float32)).verdict is Verdict.INCONCLUSIVE
    assert judged(signals(), lambda one: np.full_like(one, one.mean())).verdict is Verdict.FAILED


def test_still_inputs_do_not_pass() -> None:
    """Sequences with constant inputs do not count."""
    comparison = SequenceComparison(Comparison("fp32"))
    for one in signals():
        comparison.update([("y", one)], [("y", one)], still=True)
    judgement = comparison.judge()
    assert judgement.verdict is Verdict.INCONCLUSIVE
    assert "0 of 8 sequences" in judgement.reason


def test_copies_of_one_sequence_do_not_pass() -> None:
    """Many copies of one sequence are one sequence."""
    judgement = judged(np.repeat(signals(1), 20, axis=0), distinct=1)
    assert judgement.verdict is Verdict.INCONCLUSIVE


def test_two_sequences_do_not_pass() -> None:
    """Two sequences with thousands of steps each do not pass."""
    assert judged(signals(2, 2000), noisy(1e-5)).verdict is Verdict.INCONCLUSIVE


def test_a_state_whose_loss_would_not_show_does_not_pass() -> None:
    """A state does not pass if a run without that state gives the same outputs."""
    reference = signals()
    comparison = SequenceComparison(Comparison("fp32"), lost={"h": Comparison("fp32"), "c": Comparison("fp32")})
    for one in reference:
        comparison.update([("y", one)], [("y", one)])
        comparison.without("h", [("y", one)], [("y", one[::-1].copy())])
        comparison.without("c", [("y", one)], [("y", one)])
    judgement = comparison.judge()
    assert judgement.verdict is Verdict.INCONCLUSIVE
    assert "loses the state 'c'" in judgement.reason


def test_a_state_of_which_nothing_was_tried_does_not_pass() -> None:
    """A state does not pass if no run without that state was tried."""
    assert judged(signals(), lost={"h": Comparison("fp32")}).verdict is Verdict.INCONCLUSIVE


def test_an_error_that_grows_needs_longer_sequences() -> None:
    """A growing error that would soon leave its tolerance passes teacher-forced runs at most, not free-running ones."""
    grow = from_step(0, lambda after: 1e-6 * np.exp(0.02 * after))
    judgement = judged(signals(), grow)
    assert judgement.verdict is Verdict.INCONCLUSIVE, judgement.reason
    assert "exponential" in judgement.reason
    assert judged(signals(), grow, grows=False).verdict is Verdict.PASSED


def test_an_error_that_adds_up_slowly_passes() -> None:
    """Rounding errors that grow slowly pass if they leave the tolerance only after many more steps."""
    random = np.random.default_rng(2)
    judgement = judged(
        signals(),
        lambda one: (
            (one + np.cumsum(1e-8 * random.normal(size=one.shape), axis=0)).astype(np.float64).astype(np.float32)
        ),
    )
    assert judgement.verdict is Verdict.PASSED, judgement.reason


def test_a_sample_is_reported_as_step_and_sequence() -> None:
    """The worst element is reported with its sequence and step."""
    reference = signals()
    bad = reference[3].copy()
    bad[17] += 40
    judgement = judged(reference, lambda one: bad if (one == reference[3]).all() else one)
    assert judgement.verdict is Verdict.FAILED
    assert "step 17 of sequence 3" in judgement.reason


def test_only_written_tolerances_hold() -> None:
    """A written tolerance replaces the default, also at the end of the sequences."""
    judgement = judged(signals(), noisy(0.05), spec=TolerancesSpec(slice_error=0.3))
    assert judgement.verdict is Verdict.PASSED, judgement.reason
    assert judged(signals(), noisy(0.05)).verdict is Verdict.FAILED


def test_a_state_that_clips_in_one_sequence_is_inconclusive_and_named() -> None:
    """A state that the engine clips in one sequence is named and makes the row inconclusive, whatever the tolerance."""
    reference = signals(12)
    reference[3] *= 1.5
    loose = TolerancesSpec.model_validate({"slice_error": 0.5})
    result = judged(reference, lambda one: np.clip(one, -1, 1), loose, states={"h": "y"})
    assert result.verdict is Verdict.INCONCLUSIVE
    assert result.details["cause"] == "the state 'h' clips at -1"
    assert judged(reference, lambda one: np.clip(one, -1, 1), loose).verdict is Verdict.PASSED
    strict = TolerancesSpec.model_validate({"slice_error": 0.001})
    result = judged(reference, lambda one: np.clip(one, -1, 1), strict, states={"h": "y"})
    assert result.verdict is Verdict.FAILED
    assert result.reason.endswith("; as if the state 'h' clips at -1")
