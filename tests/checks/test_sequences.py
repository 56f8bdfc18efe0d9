"""Reset and isolation: a sequence gives the same outputs whatever runs before or beside it."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from hil.checks.sequences import isolation, reset
from hil.results import Verdict

Y = np.random.default_rng(0).normal(size=(50, 1, 4)).astype(np.float32)
SAME = [("y", Y)]


def changed(step: int, by: float = 1e-7) -> list[tuple[str, np.ndarray[Any, Any]]]:
    """Return outputs that differ from ``step`` on."""
    other = Y.copy()
    other[step:] += np.float32(by) * np.abs(other[step:])
    return [("y", other)]


def test_identical_runs_pass() -> None:
    """Outputs that are equal bit for bit pass both checks."""
    assert reset(SAME, SAME, sequences=1).verdict is Verdict.PASSED
    assert isolation([SAME, SAME], [SAME, SAME]).verdict is Verdict.PASSED


def test_a_state_that_is_left_over_fails_with_its_step() -> None:
    """A difference in the last bit of one element fails, with its step."""
    judgement = reset(SAME, changed(7), sequences=1)
    assert judgement.verdict is Verdict.FAILED
    assert "'y' from step 7 on" in judgement.reason
    assert "not reset" in judgement.reason
    for runs in ([SAME, changed(7)], [changed(7), SAME]):
        assert "share a state" in isolation([SAME, SAME], runs).reason


def test_the_sign_of_a_zero_counts() -> None:
    """Outputs that are equal as numbers and differ in their bits are not the same bit for bit."""
    zeros = np.concatenate([Y, np.zeros_like(Y[:1])])
    judgement = reset([("y", zeros)], [("y", np.concatenate([Y, -np.zeros_like(Y[:1])]))], sequences=1)
    assert judgement.verdict is Verdict.FAILED
    assert "sign of a 0" in judgement.reason


def test_large_integers_differ_with_their_step() -> None:
    """An integer that differs beyond 2**53 is a difference of a step, not one of bits."""
    numbers = np.arange(20).reshape(10, 2) + 2**60
    other = numbers.copy()
    other[6, 1] += 1
    assert "from step 6 on, there by up to 1:" in reset([("y", numbers)], [("y", other)], sequences=1).reason


def test_one_sequence_does_not_pass() -> None:
    """One sequence, with nothing before or beside it, does not pass."""
    assert reset(SAME, SAME, sequences=0).verdict is Verdict.INCONCLUSIVE
    assert isolation([SAME], [SAME]).verdict is Verdict.INCONCLUSIVE


def test_outputs_that_never_change_do_not_pass() -> None:
    """Outputs that never change do not pass."""
    constant = [("y", np.ones((50, 4), np.float32))]
    assert reset(constant, constant, sequences=1).verdict is Verdict.INCONCLUSIVE
    assert isolation([constant] * 2, [constant] * 2).verdict is Verdict.INCONCLUSIVE


@pytest.mark.parametrize("other", [[("z", Y)], [("y", Y[:-1])], [("y", Y.astype(np.float64))], []])
def test_other_outputs_fail(other: list[tuple[str, np.ndarray[Any, Any]]]) -> None:
    """A missing step, another type or another name is a difference."""
    assert reset(SAME, other, sequences=1).verdict is Verdict.FAILED
    assert isolation([SAME] * 2, [SAME] * 2, beside=[(SAME, other)]).verdict is Verdict.FAILED


def test_companions_may_change_the_rounding_only() -> None:
    """Outputs in two batches with different companions may differ by rounding; larger differences fail."""
    assert isolation([SAME] * 2, [SAME] * 2, beside=[(SAME, changed(3))]).verdict is Verdict.PASSED
    leak = isolation([SAME] * 2, [SAME] * 2, beside=[(SAME, SAME), (SAME, changed(3, 0.5))])
    assert leak.verdict is Verdict.FAILED
    assert "sequence 1 gives" in leak.reason
    assert "influence each other" in leak.reason
