"""The truth that verdicts are compared with: the share of decoded answers (classes, boxes, texts) that differ.

The decoders share no code with ``hil``. A reference is not accepted if it gives nearly every sample the same answer or
no answer.
"""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from numpy.typing import NDArray

    Outputs = Mapping[str, NDArray[Any]]

SCORE, OVERLAP, MOST, COMMONEST = 0.25, 0.5, 100, 0.65
"""The score from which a box counts, the IoU from which two boxes are the same, the most boxes of an image, and the
largest share of answers that one class may have."""

OFF = 0.05
"""A component of a vector that is off by more than this share of its range in the reference has changed."""


class Truth(NamedTuple):
    """How answers are read from outputs and compared.

    Attributes:
        answers: returns the answer to each sample.
        changed: returns which share of one answer, from 0 to 1, differs in another one.
        telling: returns the share of answers that are not trivial; for classes 0 if one class is too common, else 1.
    """

    answers: Callable[[Outputs], Sequence[Any]]
    changed: Callable[[Any, Any], float]
    telling: Callable[[Sequence[Any]], float]


def a_class(output: str) -> Truth:
    """Return the truth of scores [samples, classes]: the class of the highest score.

    With one class, it is whether its score exceeds 0.5.
    """

    def answers(outputs: Outputs) -> list[int]:
        scores = outputs[output]
        classes = scores[:, 0] > 0.5 if scores.shape[1] == 1 else scores.argmax(1)
        return [int(one) for one in np.where(np.isfinite(scores).all(1), classes, -1)]

    def telling(answers: Sequence[int]) -> float:
        return float(Counter(answers).most_common(1)[0][1] <= COMMONEST * len(answers))

    return Truth(answers, lambda ours, theirs: float(ours != theirs), telling)


def boxes(joined: str = "") -> Truth:
    """Return the truth of images' boxes: corners and classes after the score's threshold and non-maximum suppression.

    ``joined`` is the output [images, 4 + classes, boxes] with centres and sizes; without it there are the outputs
    ``boxes`` [images, boxes, 4] with corners, and ``scores`` [images, boxes, classes]. A change is 1 - F1 of the boxes
    of both that match one to one.
    """

    def answers(outputs: Outputs) -> list[tuple[NDArray[Any], NDArray[Any]]]:
        if joined:
            table = outputs[joined].transpose(0, 2, 1).astype(float)
            half, scores = table[..., 2:4] / 2, table[..., 4:]
            corners = np.concatenate([table[..., :2] - half, table[..., :2] + half], -1)
        else:
            corners, scores = outputs["boxes"].astype(float), outputs["scores"].astype(float)
        return [_suppressed(*one) for one in zip(corners, scores, strict=True)]

    def changed(reference: Any, engine: Any) -> float:
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

    return Truth(answers, changed, lambda answers: float(np.mean([len(corners) > 0 for corners, _ in answers])))


def _suppressed(corners: NDArray[Any], scores: NDArray[Any]) -> tuple[NDArray[Any], NDArray[Any]]:
    best, kinds = scores.max(-1), scores.argmax(-1)
    left = np.argsort(-best, kind="stable")
    left = left[best[left] >= SCORE]  # NaN never is
    kept: list[int] = []
    while left.size and len(kept) < MOST:
        first = left[0]
        kept.append(int(first))
        left = left[(kinds[left] != kinds[first]) | (_ious(corners[first], corners[left]) < OVERLAP)]
        left = left[left != first]
    return corners[kept], kinds[kept]


def _ious(one: NDArray[Any], others: NDArray[Any]) -> NDArray[Any]:
    low, high = np.maximum(one[:2], others[:, :2]), np.minimum(one[2:], others[:, 2:])
    both = np.prod(np.maximum(high - low, 0), axis=1)
    whole = np.prod(one[2:] - one[:2]) + np.prod(others[:, 2:] - others[:, :2], axis=1) - both
    return np.asarray(np.divide(both, whole, out=np.zeros(len(others)), where=whole > 0))


def region(output: str, threshold: float = 0.3) -> Truth:
    """Return the truth of maps [images, 1, height, width]: the pixels above a threshold. A change is 1 - IoU."""

    def changed(ours: NDArray[np.bool_], theirs: NDArray[np.bool_]) -> float:
        whole = (ours | theirs).sum()
        return float(1 - (ours & theirs).sum() / whole) if whole else 0.0

    return Truth(
        lambda outputs: list(outputs[output][:, 0] > threshold),
        changed,
        lambda masks: float(np.mean([0.01 < mask.mean() < 0.99 for mask in masks])),
    )


def text(output: str) -> Truth:
    """Return the truth of scores [images, steps, characters]: the text.

    Character 0 separates equal characters. A change is the edit distance relative to the longer text.
    """

    def answers(outputs: Outputs) -> list[tuple[int, ...]]:
        lines = []
        for steps in outputs[output].argmax(-1):
            first = np.concatenate([[True], steps[1:] != steps[:-1]])
            lines.append(tuple(int(one) for one in steps[first & (steps != 0)]))
        return lines

    def changed(reference: tuple[int, ...], engine: tuple[int, ...]) -> float:
        row = list(range(len(engine) + 1))
        for i, ours in enumerate(reference, 1):
            above, row[0] = row[0], i
            for j, theirs in enumerate(engine, 1):
                above, row[j] = row[j], min(row[j] + 1, row[j - 1] + 1, above + (ours != theirs))
        return row[-1] / max(len(reference), len(engine), 1)

    return Truth(answers, changed, lambda lines: float(np.mean([len(line) >= 3 for line in lines])))


def vector() -> Truth:
    """Return the truth of all components of all outputs together.

    The first call of ``answers`` determines the components' ranges, so it must read the reference's outputs.
    """
    ranges: list[NDArray[Any]] = []

    def answers(outputs: Outputs) -> list[NDArray[Any]]:
        table = np.concatenate([outputs[name].astype(float) for name in sorted(outputs)], 1)
        ranges.append(np.ptp(table, axis=0))
        return list(table)

    def changed(reference: NDArray[Any], engine: NDArray[Any]) -> float:
        return float(not (np.abs(reference - engine) <= OFF * ranges[0]).all())

    def telling(answers: Sequence[NDArray[Any]]) -> float:
        table = np.stack(answers)
        return float((np.abs(table - table.mean(0)) > OFF * np.ptp(table, axis=0)).any(1).mean())

    return Truth(answers, changed, telling)
