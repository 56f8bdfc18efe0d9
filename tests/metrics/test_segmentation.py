from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from hil.errors import UserError
from hil.metrics import open_metric

CLASSES = arrays.arrays(np.int64, (3, 4, 5), elements=st.integers(0, 2))


def _miou(outputs: np.ndarray, labels: np.ndarray) -> float:
    metric = open_metric("segmentation")
    evidence = metric.score({"y": outputs}, {"": labels})
    assert metric.pools is not None
    return float(metric.pools(evidence, evidence)[0](np.ones((1, len(labels))))[0])


@given(CLASSES, CLASSES)
def test_it_is_the_mean_over_classes_of_all_pixels_together(ours: np.ndarray, truth: np.ndarray) -> None:
    """Against the definition written out; scores and classes as output are the same."""
    shares = [
        ((ours == one) & (truth == one)).sum() / ((ours == one) | (truth == one)).sum()
        for one in range(3)
        if ((ours == one) | (truth == one)).any()
    ]
    assert _miou(ours, truth) == pytest.approx(np.mean(shares))
    scores = np.moveaxis(np.eye(3)[ours], -1, 1)
    assert _miou(scores, truth) == pytest.approx(np.mean(shares))


def test_pixels_that_do_not_count_change_nothing() -> None:
    """255 and negative labels are left out on both sides."""
    truth = np.array([[[0, 1, 255, -1]]])
    assert _miou(np.array([[[0, 1, 1, 0]]]), truth) == 1
    assert _miou(np.array([[[0, 0, 1, 1]]]), truth) == pytest.approx(0.25)


def test_a_pixel_that_is_not_finite_is_of_no_class() -> None:
    """Scores of NaN must not hit class 0."""
    scores = np.full((1, 2, 1, 2), np.nan)
    scores[0, :, 0, 1] = [1, 0]
    assert _miou(scores, np.array([[[0, 0]]])) == 0.5


@pytest.mark.parametrize(
    ("outputs", "labels", "word"),
    [
        (np.zeros((1, 2, 3)), np.array([[0, 1, 2]]), "go up to 2"),
        (np.zeros((1, 2, 4)), np.array([[0, 1, 1]]), "shape"),
        (np.zeros((1, 2, 3)), np.zeros((1, 3)), "integers"),
        (np.full((1, 3), -1), np.array([[0, 1, 1]]), "from -1"),
    ],
)
def test_labels_that_do_not_fit_are_the_users_mistake(outputs: np.ndarray, labels: np.ndarray, word: str) -> None:
    """A class too many, another size, no integers, classes under zero."""
    with pytest.raises(UserError, match=word):
        _miou(outputs, labels)
