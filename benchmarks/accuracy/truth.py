"""What a user of the model reads from its outputs, and which share of it differs: the truth that verdicts are held to.

These decoders share nothing with ``hil``. An answer changes by a share from 0 to 1; a reference that says the same for
nearly every sample, or nothing, is no truth.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from numpy.typing import NDArray

    Outputs = Mapping[str, NDArray[Any]]

SCORE, OVERLAP, MOST, COMMONEST = 0.25, 0.5, 100, 0.65
"""The score from which a box counts, the IoU from which two are the same, boxes of an image, share of one class."""


class Truth(Protocol):
    """Reads the answers of all samples, compares two answers, and says which share of the answers says something."""

    def answers(self, outputs: Outputs) -> list[Any]:
        """Return the answer to each sample."""

    def changed(self, reference: Any, engine: Any) -> float:
        """Return which share of one answer differs."""

    def telling(self, answers: Sequence[Any]) -> float:
        """Return the share of ``answers`` that are not trivial."""


@dataclass(frozen=True)
class Class:
    """The class with the highest score; or, for a single score, whether it is over 0.5."""

    output: str

    def answers(self, outputs: Outputs) -> list[int]:
        """Return the class of each sample."""
        scores = outputs[self.output]
        classes = scores[:, 0] > 0.5 if scores.shape[1] == 1 else scores.argmax(1)
        broken = ~np.isfinite(scores).all(1)
        return [int(one) for one in np.where(broken, -1, classes)]

    def changed(self, reference: int, engine: int) -> float:
        """Return 1 if the classes differ."""
        return float(reference != engine)

    def telling(self, answers: Sequence[int]) -> float:
        """Return 1 if no class is too common."""
        return float(Counter(answers).most_common(1)[0][1] <= COMMONEST * len(answers))


@dataclass(frozen=True)
class Boxes:
    """Boxes of one image: corners, class; after the score's threshold and non-maximum suppression.

    ``joined`` is the output [images, 4 + classes, boxes] with centres and sizes; without it there are the outputs
    ``boxes`` [images, boxes, 4] with corners, and ``scores`` [images, boxes, classes].
    """

    joined: str = ""

    def answers(self, outputs: Outputs) -> list[tuple[NDArray[Any], NDArray[Any]]]:
        """Return corners [n, 4] and classes [n] of each image."""
        if self.joined:
            table = outputs[self.joined].transpose(0, 2, 1).astype(float)
            half = table[..., 2:4] / 2
            corners = np.concatenate([table[..., :2] - half, table[..., :2] + half], -1)
            return [_suppressed(*one) for one in zip(corners, table[..., 4:], strict=True)]
        boxes, scores = outputs["boxes"].astype(float), outputs["scores"].astype(float)
        return [_suppressed(*one) for one in zip(boxes, scores, strict=True)]

    def changed(self, reference: Any, engine: Any) -> float:
        """Return 1 - F1 of the boxes of both that match one to one."""
        (ours, kinds), (theirs, others) = reference, engine
        if not len(ours) and not len(theirs):
            return 0.0
        free, pairs = np.ones(len(theirs), bool), 0
        for box, kind in zip(ours, kinds, strict=True):
            overlaps = np.where(free & (others == kind), _ious(box, theirs), -1.0)
            if overlaps.size and overlaps.max() >= OVERLAP:
                free[overlaps.argmax()] = False
                pairs += 1
        return 1 - 2 * pairs / (len(ours) + len(theirs))

    def telling(self, answers: Sequence[Any]) -> float:
        """Return the share of images with a box."""
        return float(np.mean([len(boxes) > 0 for boxes, _ in answers]))


def _suppressed(boxes: NDArray[Any], scores: NDArray[Any]) -> tuple[NDArray[Any], NDArray[Any]]:
    best, kinds = scores.max(-1), scores.argmax(-1)
    left = np.argsort(-best, kind="stable")
    left = left[best[left] >= SCORE]  # NaN never is
    kept: list[int] = []
    while left.size and len(kept) < MOST:
        first = left[0]
        kept.append(int(first))
        left = left[(kinds[left] != kinds[first]) | (_ious(boxes[first], boxes[left]) < OVERLAP)]
        left = left[left != first]
    return boxes[kept], kinds[kept]


def _ious(one: NDArray[Any], others: NDArray[Any]) -> NDArray[Any]:
    low, high = np.maximum(one[:2], others[:, :2]), np.minimum(one[2:], others[:, 2:])
    both = np.prod(np.maximum(high - low, 0), axis=1)
    whole = np.prod(one[2:] - one[:2]) + np.prod(others[:, 2:] - others[:, :2], axis=1) - both
    return np.asarray(np.divide(both, whole, out=np.zeros(len(others)), where=whole > 0))


@dataclass(frozen=True)
class Region:
    """The pixels of a map [images, 1, height, width] that are over a threshold."""

    output: str
    threshold: float = 0.3

    def answers(self, outputs: Outputs) -> list[NDArray[np.bool_]]:
        """Return the mask of each image."""
        return list(outputs[self.output][:, 0] > self.threshold)

    def changed(self, reference: NDArray[np.bool_], engine: NDArray[np.bool_]) -> float:
        """Return 1 - IoU of the masks."""
        whole = (reference | engine).sum()
        return float(1 - (reference & engine).sum() / whole) if whole else 0.0

    def telling(self, answers: Sequence[NDArray[np.bool_]]) -> float:
        """Return the share of images of which between 1 % and 99 % are in the mask."""
        return float(np.mean([0.01 < mask.mean() < 0.99 for mask in answers]))


@dataclass(frozen=True)
class Text:
    """The characters read from scores [images, steps, characters]; character 0 separates equal ones."""

    output: str

    def answers(self, outputs: Outputs) -> list[tuple[int, ...]]:
        """Return the characters of each image."""
        lines = []
        for steps in outputs[self.output].argmax(-1):
            first = np.concatenate([[True], steps[1:] != steps[:-1]])
            lines.append(tuple(int(one) for one in steps[first & (steps != 0)]))
        return lines

    def changed(self, reference: tuple[int, ...], engine: tuple[int, ...]) -> float:
        """Return the edit distance relative to the longer of the two."""
        row = list(range(len(engine) + 1))
        for i, ours in enumerate(reference, 1):
            above, row[0] = row[0], i
            for j, theirs in enumerate(engine, 1):
                above, row[j] = row[j], min(row[j] + 1, row[j - 1] + 1, above + (ours != theirs))
        return row[-1] / max(len(reference), len(engine), 1)

    def telling(self, answers: Sequence[tuple[int, ...]]) -> float:
        """Return the share of images with at least three characters."""
        return float(np.mean([len(line) >= 3 for line in answers]))


class Vector:
    """All components of all outputs, as shares of each one's range in the reference."""

    share = 0.05
    """A component that is off by more than this share of its range has changed."""

    def __init__(self) -> None:
        self.ranges: NDArray[Any] = np.zeros(0)

    def answers(self, outputs: Outputs) -> list[NDArray[Any]]:
        """Return the components of each sample. The first outputs, those of the reference, define the ranges."""
        table = np.concatenate([outputs[name].astype(float) for name in sorted(outputs)], 1)
        if not self.ranges.size:
            self.ranges = np.ptp(table, axis=0)
        return list(table)

    def changed(self, reference: NDArray[Any], engine: NDArray[Any]) -> float:
        """Return 1 if a component has changed."""
        return float(not (np.abs(reference - engine) <= self.share * self.ranges).all())

    def telling(self, answers: Sequence[NDArray[Any]]) -> float:
        """Return the share of samples that differ from the mean by more than the share that counts."""
        table = np.stack(answers)
        return float((np.abs(table - table.mean(0)) > self.share * np.ptp(table, axis=0)).any(1).mean())
