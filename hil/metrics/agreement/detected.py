"""Compares detections: boxes that both sides give, matched by class and overlap (``detection``)."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from hil.errors import UserError
from hil.metrics.agreement.evidence import Changes, Evidence, joined
from hil.metrics.agreement.lost import ByClass

if TYPE_CHECKING:
    from hil.metrics.boxes import Decode, Detections
    from hil.metrics.metric import Array, Arrays, FloatArray

IOU = 0.5
"""The least overlap of two boxes that are the same detection, as in PASCAL VOC (Everingham et al., IJCV 2010, 4.2)."""

MOST = 300
"""How many boxes of an image count, those with the highest scores: as many as detectors commonly return."""

HIGHEST = 1.01
"""The highest score that a layout may read: higher values are logits, keypoints or other columns that are no scores."""

ENOUGH = 10
"""The fewest boxes of the reference of which most have no area, so that they must be read in another way."""

KEPT = 4
"""With how many of the reference's first images that have boxes its later images are compared, to measure how much the
answers vary."""


class Boxes:
    """Compares the boxes whose score reaches a threshold.

    The change of an image is 1 - F1, with the reference's boxes as the truth: 1 if no box is the same, 0 if all are. An
    image in which neither side detects anything is not counted. If a class is lost (``ByClass``), the change is instead
    the share of the reference's boxes of this class that the engine lacks.
    """

    kind = "detection"

    def __init__(self, outputs: tuple[str, ...], decode: Decode, score: float, highest: float = HIGHEST) -> None:
        """Compare what ``decode`` reads from ``outputs``.

        ``score`` is its threshold, for messages; the reference's scores may be ``highest`` at most.
        """
        self.outputs, self.score, self.highest = outputs, score, highest
        self._decode = decode
        self._changes = Changes()
        self._by_class = ByClass()
        self._drift: list[FloatArray] = []
        self._scores: list[FloatArray] = []
        self._moved: list[FloatArray] = []
        self._same = self._boxes = self._ours = self._flat = 0
        self._kept: list[Detections] = []
        self._apart = np.zeros(KEPT)
        self._against = np.zeros(KEPT)

    def add(self, reference: Arrays, candidate: Arrays, samples: int) -> None:
        """Add the outputs of one batch. Raises ``UserError`` if the reference's do not have the declared layout."""
        ours, theirs = (self._images(side, samples) for side in (reference, candidate))
        self._refuse(ours)
        changed = np.empty(samples)
        for place, (mine, other) in enumerate(zip(ours, theirs, strict=True)):
            first, second = matched(mine, other)
            boxes = len(mine.scores) + len(other.scores)
            changed[place] = 1 - 2 * len(first) / boxes if boxes else np.nan
            for one in np.unique(mine.classes):
                at, found = mine.classes == one, mine.classes[first] == one
                number, lacking = self._changes.total + place, 1 - found.sum() / at.sum()
                self._by_class.add(int(one), np.array([number]), np.array([lacking]))
            self._drift.append(other.scores[second] - mine.scores[first])
            self._scores.append(mine.scores[first])
            self._moved.append(_displacement(mine.boxes[first], other.boxes[second]))
            self._same += len(first)
            self._boxes += boxes
            self._vary(mine)
        self._changes.add(changed, sum(not len(one.scores) for one in ours))

    def _refuse(self, images: list[Detections]) -> None:
        """Raise ``UserError`` if what is read from the reference cannot be scores, or cannot be boxes."""
        top = max((float(one.scores.max(initial=0.0)) for one in images), default=0.0)
        read = f"outputs {', '.join(self.outputs)}: correct 'layout'"
        if top > self.highest:
            raise UserError(
                f"the scores that the layout reads reach {top:.3g}, and scores are from 0 to 1: {read}, or write "
                "'decode' = a callable"
            )
        self._ours += sum(len(one.scores) for one in images)
        self._flat += sum(int((one.boxes[:, 2:] <= one.boxes[:, :2]).any(axis=1).sum()) for one in images)
        if self._ours >= ENOUGH and 2 * self._flat > self._ours:
            raise UserError(
                f"{self._flat} of {self._ours} boxes of the reference have no area: {read}, or 'boxes' (\"centers\" "
                "for centre, width and height)"
            )

    def _images(self, outputs: Arrays, samples: int) -> list[Detections]:
        images = self._decode({name: outputs[name] for name in self.outputs})
        if len(images) != samples:
            raise UserError(
                f"the boxes of {len(images)} images were decoded for {samples} samples: outputs "
                f"{', '.join(self.outputs)}: correct the layout, or let decode return one array per sample"
            )
        return [image.best(MOST) for image in images]

    def _vary(self, mine: Detections) -> None:
        for place, kept in enumerate(self._kept):
            boxes = len(mine.scores) + len(kept.scores)
            if len(mine.scores):
                self._apart[place] += 1 - 2 * len(matched(kept, mine)[0]) / boxes
                self._against[place] += 1
        if len(mine.scores) and len(self._kept) < KEPT:
            self._kept.append(mine)

    def evidence(self) -> Evidence:
        """Return the evidence of all batches so far."""
        changes, compared = self._changes, self._against > 0
        constant = float((self._apart[compared] / self._against[compared]).min()) if compared.any() else 1.0
        evidence = Evidence(
            *changes.counted(),
            changes.total,
            changes.silent,
            f"detects nothing at score {self.score:g}",
            constant,
            joined(self._drift),
            joined(self._scores),
            2 * self._same / self._boxes if self._boxes else None,
            np.concatenate([np.zeros((0, 4)), *self._moved]),
        )
        return self._by_class.alone(evidence)


def matched(ours: Detections, theirs: Detections) -> tuple[Array, Array]:
    """Return the indices of the boxes of both sides that are the same detection, one to one.

    Two boxes are the same detection if they have the same class and an IoU of at least ``IOU``. The pairs with the
    greatest IoU are matched first.
    """
    overlaps = np.where(ours.classes[:, None] == theirs.classes[None, :], _ious(ours.boxes, theirs.boxes), 0.0)
    rows, columns = np.nonzero(overlaps >= IOU)
    first: list[int] = []
    second: list[int] = []
    for place in np.argsort(-overlaps[rows, columns], kind="stable"):
        row, column = int(rows[place]), int(columns[place])
        if row not in first and column not in second:
            first.append(row)
            second.append(column)
    return np.array(first, dtype=np.int64), np.array(second, dtype=np.int64)


def _displacement(ours: FloatArray, theirs: FloatArray) -> FloatArray:
    """Return the change (n, 4) of matched boxes over the size of ``ours``: of centre x, y, of width and height."""
    size, other = (side[:, 2:] - side[:, :2] for side in (ours, theirs))
    centres = (theirs[:, :2] + theirs[:, 2:] - ours[:, :2] - ours[:, 2:]) / 2
    return np.concatenate([centres / size, other / size - 1], axis=1, dtype=np.float64)


def _ious(ours: FloatArray, theirs: FloatArray) -> FloatArray:
    low = np.maximum(ours[:, None, :2], theirs[None, :, :2])
    high = np.minimum(ours[:, None, 2:], theirs[None, :, 2:])
    both = np.prod(np.maximum(high - low, 0), axis=-1)
    mine, other = (np.prod(np.maximum(side[:, 2:] - side[:, :2], 0), axis=-1) for side in (ours, theirs))
    either = mine[:, None] + other[None, :] - both
    return np.asarray(np.divide(both, either, out=np.zeros_like(both), where=either > 0), dtype=np.float64)
