"""A state that an engine clips differs from one that it rounds, quantizes or lets saturate as the reference does."""

from __future__ import annotations

import numpy as np
import pytest

from hil.checks.clipped_state import StateRange
from tests.checks.test_sequence_comparison import signals


def clips(engine: np.ndarray, reference: np.ndarray) -> bool:
    """Return whether the engine's sequences are found to be clipped, by comparison with the reference's."""
    seen = StateRange()
    for ours, theirs in zip(engine, reference, strict=True):
        seen.add(theirs, ours)
    return seen.clips_at() is not None


STATES = 10 * signals(6).cumsum(axis=1)[:, :, :2] / 40


@pytest.mark.parametrize("low", [-1e9, -0.7])
def test_a_state_that_stops_at_one_value_is_clipped(low: float) -> None:
    """A state that never exceeds one value, on one side or on both, is clipped if the reference exceeds that value."""
    top = 0.7 * float(STATES.max())
    assert clips(np.clip(STATES, low * top, top), STATES)


@pytest.mark.parametrize(
    "change",
    [
        lambda x: x,
        lambda x: 0.7 * x,
        lambda x: np.float32(np.float16(x)),
        lambda x: np.round(x / 0.2) * 0.2,
        lambda x: np.clip(x, -0.95 * abs(x).max(), 0.95 * abs(x).max()),
        np.zeros_like,
    ],
    ids=["equal", "smaller", "fp16", "8 bits", "clipped little", "constant"],
)
def test_other_states_are_not_clipped(change: object) -> None:
    """A state that is smaller, rounded, quantized, constant, or cut by at most 5 %, does not count as clipped."""
    assert callable(change)
    assert not clips(change(STATES), STATES)


def test_a_state_that_the_reference_lets_saturate_is_not_clipped() -> None:
    """A state that stops at one value in the reference too, as after tanh or ReLU, does not count as clipped."""
    bounded = np.clip(STATES, 0, 1)
    assert not clips(bounded, bounded)
