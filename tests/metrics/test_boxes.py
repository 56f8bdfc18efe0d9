from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from hil.config.spec import DetectionSpec
from hil.errors import UserError
from hil.metrics.boxes import Detections, decoder, indices_after_nms

if TYPE_CHECKING:
    from collections.abc import Mapping

CORNERS = np.array([[[10.0, 20, 30, 60], [0, 0, 8, 8]]])
CENTERS = np.array([[[20.0, 40, 20, 40], [4, 4, 8, 8]]])
SCORES = np.array([[[0.1, 0.9], [0.3, 0.2]]])


def _decode(outputs: Mapping[str, np.ndarray], **spec: Any) -> list[list[float]]:
    (image,) = decoder(DetectionSpec(**spec))(outputs)
    rows: list[list[float]] = np.column_stack([image.boxes, image.scores, image.classes]).tolist()
    return rows


EXPECTED = [[10, 20, 30, 60, 0.9, 1], [0, 0, 8, 8, 0.3, 0]]


@pytest.mark.parametrize(
    ("spec", "outputs"),
    [
        ({"layout": "end-to-end"}, {"y": np.array([EXPECTED])}),
        ({"layout": "boxes-scores"}, {"b": CORNERS, "s": SCORES}),
        ({"layout": "boxes-scores"}, {"s": SCORES, "b": CORNERS}),
        ({"layout": "boxes-scores", "boxes": "centers"}, {"b": CENTERS, "s": SCORES}),
        (
            {"layout": "channels-first", "boxes": "centers"},
            {"y": np.concatenate([CENTERS, SCORES], axis=2).transpose(0, 2, 1)},
        ),
        (
            {"layout": "objectness", "boxes": "centers"},
            {"y": np.concatenate([CENTERS, np.full((1, 2, 1), 0.5), 2 * SCORES], axis=2)},
        ),
        (
            {"layout": "efficient-nms"},
            {
                "count": np.array([[2]]),
                "boxes": np.concatenate([CORNERS, CORNERS[:, :1]], axis=1),
                "scores": np.array([[0.9, 0.3, 0.8]]),
                "classes": np.array([[1, 0, 0]]),
            },
        ),
    ],
)
def test_every_layout_gives_the_same_boxes(spec: dict[str, Any], outputs: dict[str, np.ndarray]) -> None:
    """Every layout decodes to the same boxes."""
    assert np.allclose(_decode(outputs, **spec), EXPECTED)


@pytest.mark.parametrize(
    ("layout", "outputs"),
    [
        ("end-to-end", {"y": np.zeros((1, 2, 7))}),
        ("end-to-end", {"y": np.zeros((1, 2, 6)), "z": np.zeros(1)}),
        ("channels-first", {"y": np.zeros((1, 4, 9))}),
        ("objectness", {"y": np.zeros((1, 9, 5))}),
        ("boxes-scores", {"a": np.zeros((1, 3, 5)), "b": np.zeros((1, 3, 2))}),
        ("boxes-scores", {"a": np.zeros((1, 3, 4)), "b": np.zeros((1, 3, 4))}),
        ("efficient-nms", {"y": np.zeros((1, 2, 6))}),
    ],
)
def test_outputs_of_another_layout_are_refused(layout: Any, outputs: dict[str, np.ndarray]) -> None:
    """Outputs that do not fit the declared layout are refused."""
    with pytest.raises(UserError, match="'layout'"):
        decoder(DetectionSpec(layout=layout))(outputs)


def test_invalid_and_low_scoring_boxes_are_dropped() -> None:
    """A box or score of NaN and a score under the minimum are dropped."""
    rows = np.array([[*EXPECTED, [0, 0, np.nan, 4, 0.9, 0], [0, 0, 4, 4, np.nan, 0], [0, 0, 4, 4, 0.0005, 0]]])
    assert _decode({"y": rows}) == EXPECTED


@given(st.lists(st.tuples(*[st.integers(0, 9)] * 4, st.integers(1, 99), st.integers(0, 1)), max_size=12))
def test_suppression_drops_exactly_the_overlapping_boxes(rows: list[tuple[int, ...]]) -> None:
    """Remaining boxes of a class do not overlap; each dropped one overlaps a remaining box of at least its score."""
    table = np.array(rows, dtype=np.float64).reshape(-1, 6)
    boxes = np.concatenate([table[:, :2], table[:, :2] + 1 + table[:, 2:4]], axis=1)
    detections = Detections(boxes, table[:, 4], table[:, 5])
    remaining = indices_after_nms(detections, 0.5).tolist()
    for at in range(len(table)):
        over = [
            box
            for box in remaining
            if box != at and detections.classes[box] == detections.classes[at] and _iou(boxes[box], boxes[at]) > 0.5
        ]
        if at in remaining:
            assert not over
        else:
            assert any(detections.scores[box] >= detections.scores[at] for box in over)


def _iou(a: np.ndarray, b: np.ndarray) -> float:
    both = np.prod(np.maximum(np.minimum(a[2:], b[2:]) - np.maximum(a[:2], b[:2]), 0))
    return float(both / (np.prod(a[2:] - a[:2]) + np.prod(b[2:] - b[:2]) - both))
