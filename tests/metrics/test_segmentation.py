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
def test_miou_is_the_mean_over_classes_of_pooled_pixels(ours: np.ndarray, truth: np.ndarray) -> None:
    """The mIoU equals its definition; class scores and class indices as output give the same value."""
    shares = [
        ((ours == label) & (truth == label)).sum() / ((ours == label) | (truth == label)).sum()
        for label in range(3)
        if ((ours == label) | (truth == label)).any()
    ]
    assert _miou(ours, truth) == pytest.approx(np.mean(shares))
    scores = np.moveaxis(np.eye(3)[ours], -1, 1)
    assert _miou(scores, truth) == pytest.approx(np.mean(shares))


def test_ignored_pixels_are_left_out() -> None:
    """Pixels labelled 255 or negative are left out on both sides."""
    truth = np.array([[[0, 1, 255, -1]]])
    assert _miou(np.array([[[0, 1, 1, 0]]]), truth) == 1
    assert _miou(np.array([[[0, 0, 1, 1]]]), truth) == pytest.approx(0.25)


def test_a_non_finite_pixel_has_no_class() -> None:
    """A pixel with scores of NaN does not count as class 0."""
    scores = np.full((1, 2, 1, 2), np.nan)
    scores[0, :, 0, 1] = [1, 0]
    assert _miou(scores, np.array([[[0, 0]]])) == 0.5


@pytest.mark.parametrize(
    ("outputs", "labels", "message"),
    [
        (np.zeros((1, 2, 3)), np.array([[0, 1, 2]]), "go up to 2"),
        (np.zeros((1, 2, 4)), np.array([[0, 1, 1]]), "shape"),
        (np.zeros((1, 2, 3)), np.zeros((1, 3)), "integers"),
        (np.full((1, 3), -1), np.array([[0, 1, 1]]), "from -1"),
    ],
)
def test_labels_that_do_not_fit_are_refused(outputs: np.ndarray, labels: np.ndarray, message: str) -> None:
    """Labels with too many classes, another size, another dtype or negative outputs are refused."""
    with pytest.raises(UserError, match=message):
        _miou(outputs, labels)
