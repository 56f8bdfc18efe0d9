"""The step of a sequence that a diagnosis examines is the one with the largest error."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from hil.session.gather.sequence_causes import step_errors

STEPS = np.array([[0.1, 0.1], [0.1, 0.1], [0.1, 0.1]], np.float32)


@pytest.mark.parametrize(
    ("reference", "by", "expected"),
    [
        (STEPS, 0.2, 2.0),
        (STEPS * 0, 0.2, 0.2),
        (np.array([[1, 3], [1, 3], [np.inf, np.nan]], np.float32), 2.0, 2.0),
        (STEPS, np.inf, np.inf),
        (STEPS, np.nan, np.inf),
    ],
    ids=["constant", "zero", "not finite", "infinite", "NaN"],
)
def test_every_difference_is_an_error(reference: np.ndarray[Any, Any], by: float, expected: float) -> None:
    """A difference from a constant reference, or from one with NaN in another step, is an error of its step."""
    engine = reference.copy()
    engine[1, 0] += np.float32(by)
    errors = step_errors(reference, engine)
    assert errors.tolist() == pytest.approx([0, expected, 0], rel=1e-6)
