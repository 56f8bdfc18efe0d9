"""Compares classes: the class of each sample or position (``classification``), or of each pixel (``segmentation``)."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np

from hil.dtypes import is_finite, is_float
from hil.metrics.agreement.evidence import Changes, Evidence, class_axis, joined, samples_first
from hil.metrics.agreement.lost import ByClass
from hil.stats.masks_and_scores import are_scores

if TYPE_CHECKING:
    from hil.config.spec import OutputSpec
    from hil.metrics.metric import Array, Arrays, FloatArray

NONE, NO = -1, -2
"""The class of a position where no score reaches the threshold: ``NONE``, or ``NO`` if the model has only one class."""


@dataclass
class _Read:
    """The classes of all batches and how they differ, for one way to read the output: as scores, or as logits."""

    changes: Changes = field(default_factory=Changes)
    drift: list[FloatArray] = field(default_factory=list)
    scores: list[FloatArray] = field(default_factory=list)
    classes: Counter[int] = field(default_factory=Counter)
    by_class: ByClass = field(default_factory=ByClass)
    both: int = 0
    answers: int = 0

    def add(self, ours: Array, theirs: Array, silent: Array) -> None:
        """Add the classes of a batch, (samples, positions).

        ``silent``, (samples, 1), has the class that means that there is no answer.
        """
        values, counts = np.unique(ours, return_counts=True)
        self.classes.update({int(value): int(count) for value, count in zip(values, counts, strict=True)})
        mine, other = ours != silent, theirs != silent
        self.both += int(((ours == theirs) & (ours >= 0)).sum())
        self.answers += int((ours >= 0).sum() + (theirs >= 0).sum())
        counted = (mine | other).sum(axis=1)
        self.by_class.add_all(ours, theirs, silent, self.changes.total)
        with np.errstate(invalid="ignore", divide="ignore"):
            self.changes.add((ours != theirs).sum(axis=1) / counted, int((~mine.any(axis=1)).sum()))


class Classes:
    """Compares the class with the highest score along an axis, or a class given as an integer.

    Positions whose highest score is under ``spec.score`` have no answer; with a single class, the answer is then "no".
    Outputs outside 0 to 1 are converted to scores by softmax or, for one class, by the logistic function. The change of
    a sample is the share of its answers that differ. If a class is lost (``ByClass``), only its answers are counted.
    """

    kind = "classification"

    def __init__(self, name: str, spec: OutputSpec) -> None:
        """Compare the output ``name`` as ``spec`` declares it."""
        self.outputs = (name,)
        self.spec = spec
        self._read = {"given": _Read(), "logits": _Read()}
        self._within = True
        self._scored = False

    def add(self, reference: Arrays, candidate: Arrays, samples: int) -> None:
        """Add the outputs of one batch; raises ``UserError`` if they do not fit the declared kind."""
        name = self.outputs[0]
        ours, theirs = (samples_first(name, self.kind, side[name], samples) for side in (reference, candidate))
        none = np.full((samples, 1), NONE)
        if not is_float(ours.dtype):
            self._read["given"].add(_integers(ours), _integers(theirs), none)
            return
        self._scored = True
        axis = class_axis(name, self.spec, ours.ndim, -1)
        x, y = _rows(ours, axis), _rows(theirs, axis)
        self._within &= bool((are_scores(x, x) | np.isnan(x)).all())
        for how, read in self._read.items():
            if how == "given" and not self._within:
                continue
            p, q = (x, y) if how == "given" else (probabilities(x), probabilities(y))
            mine, other = (reached(one, self.spec.score) for one in (p, q))
            read.add(mine, other, none)
            both = np.where(mine == other, mine, NONE)
            read.drift.append(_means(q - p, both))
            read.scores.append(_means(p, both))

    def evidence(self) -> Evidence:
        """Return the evidence of all batches so far."""
        read = self._read["given" if self._within else "logits"]
        changed, samples = read.changes.counted()
        commonest = max((count for one, count in read.classes.items() if one != NONE), default=0)
        evidence = Evidence(
            changed,
            samples,
            read.changes.total,
            read.changes.silent,
            f"has no score of {self.spec.score:g} or more",
            1 - commonest / max(sum(read.classes.values()), 1),
            joined(read.drift) if self._scored else None,
            joined(read.scores) if self._scored else None,
            2 * read.both / read.answers if read.answers and self._scored else None,
        )
        return read.by_class.alone(evidence)


class Pixels:
    """Compares the class of each pixel: the highest score along an axis (by default the second), or integers.

    The score of a single class is compared with ``spec.score``. The commonest class of the reference's image is its
    background. The change of a sample is the share of pixels whose class differs, without pixels that are background on
    both sides. If a class is lost (``ByClass``), only its pixels are counted.
    """

    kind = "segmentation"

    def __init__(self, name: str, spec: OutputSpec) -> None:
        """Compare the output ``name`` as ``spec`` declares it."""
        self.outputs = (name,)
        self.spec = spec
        self._read = {"given": _Read(), "logits": _Read()}
        self._within = True

    def add(self, reference: Arrays, candidate: Arrays, samples: int) -> None:
        """Add the outputs of one batch; raises ``UserError`` if they do not fit the declared kind."""
        name = self.outputs[0]
        ours, theirs = (samples_first(name, self.kind, side[name], samples) for side in (reference, candidate))
        if not is_float(ours.dtype):
            self._add("given", _integers(ours), _integers(theirs))
            return
        axis = class_axis(name, self.spec, ours.ndim, 1)
        if ours.shape[axis] > 1:
            self._add("given", *(_flat(_best(one, axis)) for one in (ours, theirs)))
            return
        x, y = (_flat(one)[..., None].astype(np.float64) for one in (ours, theirs))
        self._within &= bool((are_scores(x, x) | np.isnan(x)).all())
        if self._within:
            self._add("given", *(reached(one, self.spec.score) for one in (x, y)))
        self._add("logits", *(reached(probabilities(one), self.spec.score) for one in (x, y)))

    def _add(self, how: str, ours: Array, theirs: Array) -> None:
        self._read[how].add(ours, theirs, np.array([[_commonest(one)] for one in ours]))

    def evidence(self) -> Evidence:
        """Return the evidence of all batches so far."""
        read = self._read["given" if self._within else "logits"]
        changes = read.changes
        evidence = Evidence(*changes.counted(), changes.total, changes.silent, "has one class in all pixels")
        return read.by_class.alone(evidence)


def reached(scores: FloatArray, least: float) -> Array:
    """Return the class with the highest score along the last axis.

    It is ``NONE`` if a score is NaN or the highest is under ``least``. With a single class, it is 0 if the score
    reaches ``least``, else ``NO``.
    """
    best = scores.argmax(axis=-1)
    top = np.take_along_axis(scores, best[..., None], axis=-1)[..., 0]
    under = NO if scores.shape[-1] == 1 else NONE
    return np.where(np.isnan(scores).any(axis=-1), NONE, np.where(top >= least, best, under))


def probabilities(logits: FloatArray) -> FloatArray:
    """Return the softmax along the last axis; for a single class, the logistic function."""
    with np.errstate(over="ignore", invalid="ignore"):
        if logits.shape[-1] == 1:
            return np.asarray(1 / (1 + np.exp(-logits)), dtype=np.float64)
        powers = np.exp(logits - logits.max(axis=-1, keepdims=True))
        return np.asarray(powers / powers.sum(axis=-1, keepdims=True), dtype=np.float64)


def _best(scores: Array, axis: int) -> Array:
    return np.where(is_finite(scores).all(axis=axis), scores.argmax(axis=axis), NONE)


def _commonest(classes: Array) -> int:
    values, counts = np.unique(classes, return_counts=True)
    return int(values[counts.argmax()])


def _means(values: FloatArray, classes: Array) -> FloatArray:
    """Return, for each sample that has an answer, the mean of the ``values`` of its ``classes``."""
    own = np.take_along_axis(values, np.maximum(classes, 0)[..., None], axis=-1)[..., 0]
    answered = classes >= 0
    counted = answered.sum(axis=1)
    sums = np.where(answered, own, 0.0).sum(axis=1)
    return np.asarray(sums[counted > 0] / counted[counted > 0], dtype=np.float64)


def _rows(array: Array, axis: int) -> FloatArray:
    """Return scores as float64 (samples, positions, classes)."""
    last = np.moveaxis(array, axis, -1)
    return last.reshape(len(last), -1, last.shape[-1]).astype(np.float64)


def _integers(array: Array) -> Array:
    return _flat(array).astype(np.int64)


def _flat(array: Array) -> Array:
    return array.reshape(len(array), -1)
