"""Decodes a detector's outputs to boxes, classes and scores of each image, for the layouts that exporters write.

Decoded boxes are corners x1 y1 x2 y2 in the unit of the labels. An output that does not fit the declared layout raises
``UserError``.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from hil.dtypes import is_float
from hil.errors import UserError
from hil.metrics.metric import Array, Arrays, FloatArray

if TYPE_CHECKING:
    from hil.config.spec import DetectionSpec

COLUMNS = 6
"""Columns of detections after NMS in the graph: x1 y1 x2 y2 score class."""


@dataclass(frozen=True)
class Detections:
    """The detections of one image: ``boxes`` float64 (k, 4) corners, ``scores`` and ``classes`` (k,)."""

    boxes: FloatArray
    scores: FloatArray
    classes: FloatArray

    def only(self, chosen: Array) -> Detections:
        """Return the detections that ``chosen`` selects: an array of indices or a mask."""
        return Detections(self.boxes[chosen], self.scores[chosen], self.classes[chosen])

    def best(self, most: int) -> Detections:
        """Return the ``most`` detections with the highest scores, highest first; equal scores keep their order."""
        return self.only(np.argsort(-self.scores, kind="mergesort")[:most])


Decode = Callable[[Arrays], list[Detections]]
"""Maps a batch's outputs by name to the detections of each image."""


def decoder(spec: DetectionSpec) -> Decode:
    """Return a decoder for the layout that ``spec`` declares.

    The decoder also applies the score threshold and the non-maximum suppression of ``spec``.
    """
    layout = LAYOUTS[spec.layout]

    def decode(outputs: Arrays) -> list[Detections]:
        boxes, scores, classes = layout(outputs)
        if spec.boxes == "centers":
            half = boxes[..., 2:] / 2
            boxes = np.concatenate([boxes[..., :2] - half, boxes[..., :2] + half], axis=-1)
        images = zip(boxes, scores, classes, strict=True)
        return [cleaned(Detections(*image), spec.score, spec.nms) for image in images]

    return decode


def cleaned(detections: Detections, score: float, nms: float | None) -> Detections:
    """Return the finite detections whose score is above 0 and at least ``score``, and whose class is not negative.

    Then apply non-maximum suppression at the IoU ``nms``; none if ``nms`` is ``None``.
    """
    boxes, scores, classes = detections.boxes, detections.scores, detections.classes
    with np.errstate(invalid="ignore"):
        finite = np.isfinite(boxes).all(axis=1) & np.isfinite(scores) & (classes >= 0)
        confident = detections.only(finite & (scores >= score) & (scores > 0))
    return confident if nms is None else confident.only(indices_after_nms(confident, nms))


def indices_after_nms(detections: Detections, most: float) -> Array:
    """Return the indices of the boxes that remain after greedy non-maximum suppression, highest score first.

    A box is removed if its IoU with a better box of the same class is over ``most``.
    """
    boxes = detections.boxes
    left = np.argsort(-detections.scores, kind="mergesort")
    areas = np.prod(np.maximum(boxes[:, 2:] - boxes[:, :2], 0), axis=1)
    remaining = []
    while left.size:
        first, left = left[0], left[1:]
        remaining.append(first)
        low = np.maximum(boxes[first, :2], boxes[left, :2])
        high = np.minimum(boxes[first, 2:], boxes[left, 2:])
        both = np.prod(np.maximum(high - low, 0), axis=1)
        either = areas[first] + areas[left] - both
        over = np.divide(both, either, out=np.zeros_like(both), where=either > 0) > most
        left = left[~(over & (detections.classes[left] == detections.classes[first]))]
    return np.array(remaining, dtype=np.int64)


def _end_to_end(outputs: Arrays) -> tuple[FloatArray, FloatArray, FloatArray]:
    (table,) = _floats(outputs, 1, "end-to-end: one output [images, boxes, 6], each x1 y1 x2 y2 score class")
    if table.shape[-1] != COLUMNS:
        raise _misfit(outputs, "end-to-end: one output [images, boxes, 6], each x1 y1 x2 y2 score class")
    return table[..., :4], table[..., 4], np.round(table[..., 5])


def _efficient_nms(outputs: Arrays) -> tuple[FloatArray, FloatArray, FloatArray]:
    expected = (
        "efficient-nms: outputs for count [images, 1], boxes [images, boxes, 4], scores and classes [images, boxes]"
    )
    arrays = list(outputs.values())
    boxes = [array for array in arrays if array.ndim == 3 and array.shape[-1] == 4]  # (images, boxes, 4)
    flat = [array for array in arrays if array.ndim == 2 and is_float(array.dtype)]  # (images, boxes)
    whole = [array for array in arrays if array.ndim == 2 and array.dtype.kind in "iu"]
    counts = [array for array in whole if array.shape[1] == 1]
    classes = [one for one in whole if one is not (counts[0] if counts else None)]
    if not (len(boxes) == len(flat) == len(counts) == len(classes) == 1):
        raise _misfit(outputs, expected)
    valid = np.arange(boxes[0].shape[1]) < counts[0]
    return boxes[0].astype(np.float64), flat[0].astype(np.float64), np.where(valid, classes[0], -1).astype(np.float64)


def _channels_first(outputs: Arrays) -> tuple[FloatArray, FloatArray, FloatArray]:
    expected = "channels-first: one output [images, 4 + classes, boxes]"
    (table,) = _floats(outputs, 1, expected)
    if table.shape[1] < 5:  # 4 coordinates and a class
        raise _misfit(outputs, expected)
    return _best(table[:, :4].transpose(0, 2, 1), table[:, 4:].transpose(0, 2, 1))


def _objectness(outputs: Arrays) -> tuple[FloatArray, FloatArray, FloatArray]:
    expected = "objectness: one output [images, boxes, 5 + classes], the fifth column a factor of every class score"
    (table,) = _floats(outputs, 1, expected)
    if table.shape[-1] < COLUMNS:
        raise _misfit(outputs, expected)
    return _best(table[..., :4], table[..., 5:] * table[..., 4:5])


def _boxes_and_scores(outputs: Arrays) -> tuple[FloatArray, FloatArray, FloatArray]:
    expected = "boxes-scores: outputs [images, boxes, 4] and [images, boxes, classes]; name them 'boxes' and 'scores'"
    first, second = _floats(outputs, 2, expected)
    names = list(outputs)
    fit = [one for one in ((first, second), (second, first)) if one[0].shape[-1] == 4 and _alike(*one)]  # 4 coordinates
    if len(fit) > 1 and {"boxes", "scores"} <= set(names):
        fit = [(first, second) if names[0] == "boxes" else (second, first)]
    if len(fit) != 1:
        raise _misfit(outputs, expected)
    return _best(*fit[0])


LAYOUTS = {
    "end-to-end": _end_to_end,
    "efficient-nms": _efficient_nms,
    "channels-first": _channels_first,
    "objectness": _objectness,
    "boxes-scores": _boxes_and_scores,
}
"""The readers of the layouts, by the value of ``layout`` in ``[models.NAME.detection]``."""


def _alike(boxes: FloatArray, scores: FloatArray) -> bool:
    return boxes.shape[:2] == scores.shape[:2]


def _best(boxes: FloatArray, scores: FloatArray) -> tuple[FloatArray, FloatArray, FloatArray]:
    """Return the boxes, and for each the score and the index of its best class.

    The score of a box is NaN if a score of any class is not finite.
    """
    best = np.where(np.isfinite(scores).all(axis=-1), scores.max(axis=-1), np.nan)
    return boxes, best, scores.argmax(axis=-1).astype(np.float64)


def _floats(outputs: Arrays, count: int, expected: str) -> list[FloatArray]:
    arrays = list(outputs.values())
    # Each array is (images, boxes, columns).
    if len(arrays) != count or any(array.ndim != 3 or not is_float(array.dtype) for array in arrays):
        raise _misfit(outputs, expected)
    return [array.astype(np.float64) for array in arrays]


def _misfit(outputs: Arrays, expected: str) -> UserError:
    shapes = ", ".join(f"{name} {array.dtype}{list(array.shape)}" for name, array in outputs.items())
    return UserError(
        f"outputs do not have the layout {expected}; they are {shapes}: "
        "correct 'layout', or write 'decode' = a callable"
    )
