"""What a detector's outputs mean: boxes, classes and scores of each image, from the layouts that exporters write.

Boxes end as corners x1 y1 x2 y2 in the unit of the labels. Nothing is guessed: an output that does not fit the declared
layout is the user's mistake, told with the shapes.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from hil.errors import UserError
from hil.metrics.metric import Array, Arrays, FloatArray

if TYPE_CHECKING:
    from hil.config.spec import DetectionSpec

COLUMNS = 6
"""Of detections that a graph's own NMS left: x1 y1 x2 y2 score class."""


@dataclass(frozen=True)
class Detections:
    """Of one image: ``boxes`` float64 (k, 4) corners, ``scores`` and ``classes`` (k,)."""

    boxes: FloatArray
    scores: FloatArray
    classes: FloatArray

    def only(self, chosen: Array) -> Detections:
        """Those at ``chosen``, indices or a mask."""
        return Detections(self.boxes[chosen], self.scores[chosen], self.classes[chosen])

    def surest(self, most: int) -> Detections:
        """The ``most`` of highest score, the surest first; of equals the first."""
        return self.only(np.argsort(-self.scores, kind="mergesort")[:most])


Decode = Callable[[Arrays], list[Detections]]
"""A batch's outputs by name to the detections of each image."""


def decoder(spec: DetectionSpec) -> Decode:
    """Reads the layout of ``spec``: decoded, as corners, above its least score, and thinned by NMS if it says so."""
    layout = LAYOUTS[spec.layout]

    def decode(outputs: Arrays) -> list[Detections]:
        boxes, scores, classes = layout(outputs)
        if spec.boxes == "centers":
            half = boxes[..., 2:] / 2
            boxes = np.concatenate([boxes[..., :2] - half, boxes[..., :2] + half], axis=-1)
        return [cleaned(Detections(*one), spec.score, spec.nms) for one in zip(boxes, scores, classes, strict=True)]

    return decode


def cleaned(found: Detections, score: float, nms: float | None) -> Detections:
    """Finite boxes above ``score``, without those that ``nms`` takes out; a box that is not finite found nothing."""
    with np.errstate(invalid="ignore"):
        real = np.isfinite(found.boxes).all(axis=1) & np.isfinite(found.scores) & (found.classes >= 0)
        kept = found.only(real & (found.scores >= score) & (found.scores > 0))
    return kept if nms is None else kept.only(suppressed(kept, nms))


def suppressed(found: Detections, most: float) -> Array:
    """Greedy non-maximum suppression within each class: which boxes stay, the surest first.

    A box goes where its IoU with a surer one of its class that stayed is over ``most``.
    """
    left = np.argsort(-found.scores, kind="mergesort")
    areas = np.prod(np.maximum(found.boxes[:, 2:] - found.boxes[:, :2], 0), axis=1)
    stay = []
    while left.size:
        first, left = left[0], left[1:]
        stay.append(first)
        low = np.maximum(found.boxes[first, :2], found.boxes[left, :2])
        high = np.minimum(found.boxes[first, 2:], found.boxes[left, 2:])
        both = np.prod(np.maximum(high - low, 0), axis=1)
        either = areas[first] + areas[left] - both
        over = np.divide(both, either, out=np.zeros_like(both), where=either > 0) > most
        left = left[~(over & (found.classes[left] == found.classes[first]))]
    return np.array(stay, dtype=np.int64)


def _end_to_end(outputs: Arrays) -> tuple[FloatArray, FloatArray, FloatArray]:
    (table,) = _floats(outputs, 1, "end-to-end: one output [images, boxes, 6], each x1 y1 x2 y2 score class")
    if table.shape[-1] != COLUMNS:
        raise _misfit(outputs, "end-to-end: one output [images, boxes, 6], each x1 y1 x2 y2 score class")
    return table[..., :4], table[..., 4], np.round(table[..., 5])


def _efficient_nms(outputs: Arrays) -> tuple[FloatArray, FloatArray, FloatArray]:
    wanted = (
        "efficient-nms: outputs for count [images, 1], boxes [images, boxes, 4], scores and classes [images, boxes]"
    )
    arrays = list(outputs.values())
    boxes = [one for one in arrays if one.ndim == 3 and one.shape[-1] == 4]  # (images, boxes, 4)
    flat = [one for one in arrays if one.ndim == 2 and one.dtype.kind == "f"]  # (images, boxes)
    whole = [one for one in arrays if one.ndim == 2 and one.dtype.kind in "iu"]
    counts = [one for one in whole if one.shape[1] == 1]
    classes = [one for one in whole if one is not (counts[0] if counts else None)]
    if not (len(boxes) == len(flat) == len(counts) == len(classes) == 1):
        raise _misfit(outputs, wanted)
    there = np.arange(boxes[0].shape[1]) < counts[0]
    return boxes[0].astype(np.float64), flat[0].astype(np.float64), np.where(there, classes[0], -1).astype(np.float64)


def _channels_first(outputs: Arrays) -> tuple[FloatArray, FloatArray, FloatArray]:
    wanted = "channels-first: one output [images, 4 + classes, boxes]"
    (table,) = _floats(outputs, 1, wanted)
    if table.shape[1] < 5:  # 4 coordinates and a class
        raise _misfit(outputs, wanted)
    return _best(table[:, :4].transpose(0, 2, 1), table[:, 4:].transpose(0, 2, 1))


def _objectness(outputs: Arrays) -> tuple[FloatArray, FloatArray, FloatArray]:
    wanted = "objectness: one output [images, boxes, 5 + classes], the fifth what every class is multiplied by"
    (table,) = _floats(outputs, 1, wanted)
    if table.shape[-1] < COLUMNS:
        raise _misfit(outputs, wanted)
    return _best(table[..., :4], table[..., 5:] * table[..., 4:5])


def _boxes_and_scores(outputs: Arrays) -> tuple[FloatArray, FloatArray, FloatArray]:
    wanted = "boxes-scores: outputs [images, boxes, 4] and [images, boxes, classes]; name them 'boxes' and 'scores'"
    first, second = _floats(outputs, 2, wanted)
    names = list(outputs)
    fit = [one for one in ((first, second), (second, first)) if one[0].shape[-1] == 4 and _alike(*one)]  # 4 coordinates
    if len(fit) > 1 and {"boxes", "scores"} <= set(names):
        fit = [(first, second) if names[0] == "boxes" else (second, first)]
    if len(fit) != 1:
        raise _misfit(outputs, wanted)
    return _best(*fit[0])


LAYOUTS = {
    "end-to-end": _end_to_end,
    "efficient-nms": _efficient_nms,
    "channels-first": _channels_first,
    "objectness": _objectness,
    "boxes-scores": _boxes_and_scores,
}
"""By the name that ``[models.NAME.detection] layout`` gives them."""


def _alike(boxes: FloatArray, scores: FloatArray) -> bool:
    return boxes.shape[:2] == scores.shape[:2]


def _best(boxes: FloatArray, scores: FloatArray) -> tuple[FloatArray, FloatArray, FloatArray]:
    """Each box with its best class; a row of scores that is not finite is NaN and goes."""
    best = np.where(np.isfinite(scores).all(axis=-1), scores.max(axis=-1), np.nan)
    return boxes, best, scores.argmax(axis=-1).astype(np.float64)


def _floats(outputs: Arrays, count: int, wanted: str) -> list[FloatArray]:
    arrays = list(outputs.values())
    # Each array is (images, boxes, columns).
    if len(arrays) != count or any(one.ndim != 3 or one.dtype.kind != "f" for one in arrays):
        raise _misfit(outputs, wanted)
    return [one.astype(np.float64) for one in arrays]


def _misfit(outputs: Arrays, wanted: str) -> UserError:
    there = ", ".join(f"{name} {one.dtype}{list(one.shape)}" for name, one in outputs.items())
    return UserError(
        f"outputs are not laid out as {wanted}; they are {there}: correct 'layout', or write 'decode' = a callable"
    )
