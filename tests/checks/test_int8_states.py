"""A state that leaves its INT8 range is found, also late in a sequence, and named with the step."""

from __future__ import annotations

import numpy as np
import pytest

from hil.checks.int8_ranges import RangesFacts, TensorUse, ranges
from hil.checks.int8_states import clipping, state_use, worst_states
from hil.results import Verdict

STEPS, UNITS = 400, 32


def state(seed: int = 0) -> np.ndarray[tuple[int, ...], np.dtype[np.float64]]:
    """Return a state [steps, 1, units] with magnitudes up to 1."""
    noise = np.random.default_rng(seed).normal(size=(STEPS, 1, UNITS))
    return np.asarray(np.sin(np.cumsum(0.1 * noise, axis=0)))


def test_a_state_within_its_range_is_no_finding() -> None:
    """Values up to the end of the range, and half an INT8 step beyond it, do not count as clipped."""
    assert state_use("h", 1.0, 0, state()) is None
    assert state_use("h", 1.0, 0, state() * 1.003) is None


def test_one_element_that_drifts_away_late_is_named_with_its_step() -> None:
    """A single element that is clipped only in the last 40 of 400 steps is named with its step."""
    values = state()
    values[360:, 0, 5] = 1.5
    use = state_use("h", 1.0, 3, values)
    assert use is not None
    assert (use.sequence, use.step, use.steps, use.peak) == (3, 360, 40, 1.5)
    assert "the state 'h' clips from step 360 of sequence 3 on" in clipping([use])
    facts = RangesFacts([TensorUse("h", 1.0, 1.5, 40, STEPS * UNITS, 0.001)], STEPS, states=[use])
    judgement = ranges(facts, None)
    assert judgement.verdict is Verdict.FAILED
    assert "step 360 of sequence 3" in judgement.reason
    assert judgement.details["states"][0]["step"] == 360


@pytest.mark.parametrize("values", [state() * 1.08, np.where(np.arange(STEPS)[:, None, None] % 100, state(), 3.0)])
def test_short_or_small_excess_is_listed_but_does_not_fail(
    values: np.ndarray[tuple[int, ...], np.dtype[np.float64]],
) -> None:
    """Single steps far outside the range, and many steps slightly outside it, do not fail."""
    use = state_use("h", 1.0, 0, values)
    assert use is not None
    assert not clipping([use])


def test_the_worst_sequence_of_each_state_is_listed() -> None:
    """A state is listed once, worst state first."""
    uses = [
        state_use(name, 1.0, number, state() * scale)
        for name, number, scale in (("h", 0, 1.5), ("h", 1, 2.0), ("c", 0, 1.2))
    ]
    assert [(use.name, use.sequence) for use in worst_states([use for use in uses if use])] == [("h", 1), ("c", 0)]


def test_a_short_sequence_is_judged_as_a_whole() -> None:
    """A sequence with fewer steps than a part is judged as a whole."""
    use = state_use("h", 1.0, 0, np.full((3, 1), 2.0))
    assert use is not None
    assert use.beyond == pytest.approx(1.0)
