from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from hil.metrics import open_metric

TURN = 2 * np.pi


def _score(name: str, ours: object, truth: object) -> list[float]:
    values: list[float] = (
        open_metric("regression", name=name).score({"y": np.array(ours)}, {"y": np.array(truth)}).tolist()
    )
    return values


def test_rmse_is_the_root_of_the_mean_over_all_samples() -> None:
    """RMSE of the errors 0 and 2 is 1.414, not the mean of roots."""
    metric = open_metric("regression", name="rmse")
    evidence = metric.score({"y": np.array([[0.0], [2.0]])}, {"": np.zeros((2, 1))})
    assert metric.pools is not None
    ours, theirs = metric.pools(evidence, evidence)
    assert ours(np.ones((1, 2))) == pytest.approx(np.sqrt(2))
    assert theirs(np.array([[2.0, 0.0], [0.0, 2.0]])) == pytest.approx([0, 2])


@given(st.floats(-20, 20), st.integers(-3, 3), st.floats(0, np.pi))
def test_an_angle_is_the_smallest_difference(truth: float, turns: int, off: float) -> None:
    """Whole turns change nothing, and no difference is over half a turn."""
    assert _score("angle", [[truth + off + turns * TURN]], [[truth]]) == pytest.approx([off], abs=1e-9)


def test_a_quaternion_and_its_negative_are_one_rotation() -> None:
    """The sign and the length of a quaternion do not change the angle of its rotation."""
    half = np.array([np.cos(0.2), np.sin(0.2), 0, 0])
    identity = np.array([1.0, 0, 0, 0])
    assert _score("angle", [half, -3 * half], [identity, identity]) == pytest.approx([0.4, 0.4])


def test_a_direction_is_compared_by_its_angle() -> None:
    """Two axes differ by a right angle; a vector without length has no angle."""
    angles = _score("angle", [[1.0, 0, 0], [0.0, 0, 0]], [[0.0, 2, 0], [0.0, 1, 0]])
    assert angles[0] == pytest.approx(np.pi / 2)
    assert np.isnan(angles[1])
