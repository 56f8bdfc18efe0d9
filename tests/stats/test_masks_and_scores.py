from __future__ import annotations

import numpy as np
import pytest

from hil.stats.masks_and_scores import are_scores, largest_unmasked, masks, same_masks

SCORES = np.array([[1.5, -1e9, 3.0], [-2.0, 0.5, -1e9]], np.float32)


def test_a_mask_is_far_from_all_other_values() -> None:
    """Values far beyond all others are masks; large values of one range, and large values alone, are not."""
    found = masks(SCORES)
    assert found is not None
    assert np.argwhere(found).tolist() == [[0, 1], [1, 2]]
    for values in (SCORES[:, :1], np.array([2e5, 3e5, 9e3]), np.array([-1e9, -1e9]), np.array([0.0, 1e9]), np.zeros(0)):
        assert masks(values) is None
    assert masks(np.array([-1e9, -1e9]), 3.0) is not None


def test_only_equal_masks_are_the_same() -> None:
    """A mask that the other side lacks, or has with another value, is a difference."""
    other = SCORES * np.float32(1.001)
    other[1, 2] = 0.7
    found = same_masks(SCORES, other)
    assert found is not None
    assert np.argwhere(found).tolist() == [[0, 1]]
    assert same_masks(SCORES, np.maximum(SCORES, -65504)) is None


def test_masks_are_not_the_largest_magnitude() -> None:
    """The largest magnitude is that of the other values, or one that was known before."""
    assert largest_unmasked(SCORES) == 3.0
    assert largest_unmasked(SCORES, 7.0) == 7.0
    assert largest_unmasked(np.array([5e4, -6e4, 700.0])) == 6e4


@pytest.mark.parametrize(
    ("low", "high", "expected"),
    [
        (0, 1, True),
        (-1e-7, 1.0000001, True),
        (0, 1.0009765625, True),
        (0, 1.01, False),
        (-0.01, 1, False),
        (float("nan"), 1, False),
    ],
)
def test_rounding_does_not_make_scores_logits(low: float, high: float, expected: bool) -> None:
    """Values from 0 to 1 are scores, also if a sigmoid was rounded beyond 1; values further out or NaN are not."""
    assert bool(are_scores(low, high)) is expected
