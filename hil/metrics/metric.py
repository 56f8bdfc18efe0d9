"""What a metric is: evidence a sample, gathered batch by batch, and how two sides' evidence becomes their scores.

Most scores are means over samples. mAP and mIoU are not: they pool the evidence of all samples, so that a bootstrap has
to pool it anew for each draw. ``Pool`` is that one step, and all that ``hil.checks.task`` needs of a metric.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from hil.errors import UserError

if TYPE_CHECKING:
    from hil.stats import Pool

Array = npt.NDArray[Any]
FloatArray = npt.NDArray[np.float64]
Arrays = Mapping[str, Array]

WHOLE = ""
"""Key of labels that name no output: the array ``labels`` of a data set."""

Score = Callable[[Arrays, Arrays], FloatArray]
"""A batch's evidence, float64 of shape (n, …), from its outputs and labels by name."""


@dataclass(frozen=True)
class Metric:
    """How a task is scored.

    ``key`` is the tolerance its loss is held against (``hil.checks.task.Scores``); ``score`` takes the outputs and
    labels of a batch, by name, to evidence of shape (n, …); ``pools`` takes all evidence of the reference and of the
    engine to their ``Pool``, ``None`` where the score is the mean of evidence of shape (n,). ``needs_labels``
    marks what says nothing without the truth.
    """

    name: str
    key: str
    unit: str
    score: Score
    pools: Callable[[FloatArray, FloatArray], tuple[Pool, Pool]] | None = None
    needs_labels: bool = True

    @property
    def higher_is_better(self) -> bool:
        """False for an error."""
        return self.key != "error_increase"


def each(pool: Callable[[FloatArray], Pool]) -> Callable[[FloatArray, FloatArray], tuple[Pool, Pool]]:
    """Pools both sides alike, neither knowing of the other."""

    def both(reference: FloatArray, candidate: FloatArray) -> tuple[Pool, Pool]:
        return pool(reference), pool(candidate)

    return both


def mean(evidence: FloatArray) -> Pool:
    """The mean of evidence of shape (n,)."""

    def pooled(counts: FloatArray) -> FloatArray:
        return np.asarray(counts @ evidence / counts.sum(axis=1), dtype=np.float64)

    return pooled


def labelled(outputs: Arrays, labels: Arrays, *, ranked: bool = False) -> tuple[str, Array]:
    """The one output that is scored, and its labels; ``ranked`` leaves out outputs of one dimension.

    Raises ``UserError`` where there are none, or it is not clear whose they are.
    """
    if not labels:
        raise UserError("there are no labels to score by: add 'labels' to the data")
    if WHOLE not in labels:
        found = pairs(outputs, labels)
        if len(found) != 1:
            raise UserError(f"labels are given for {', '.join(sorted(found))}: this metric scores one output")
        return next(iter(found.items()))
    return one_output(outputs, ranked=ranked), labels[WHOLE]


def one_output(outputs: Arrays, *, ranked: bool = False) -> str:
    """The name of the only output that could be meant. Raises ``UserError`` if there are several."""
    fitting = [name for name, output in outputs.items() if not ranked or output.ndim > 1]
    if len(fitting) != 1:
        there = ", ".join(sorted(outputs))
        raise UserError(f"labels could belong to any output of {there}: name it, 'labels.OUTPUT'")
    return fitting[0]


def pairs(outputs: Arrays, labels: Arrays) -> dict[str, Array]:
    """Labels by the output that they belong to. Raises ``UserError`` for labels of no output."""
    if WHOLE in labels:
        name, truth = labelled(outputs, labels)
        return {name: truth}
    unknown = sorted(set(labels) - set(outputs))
    if unknown:
        raise UserError(f"there are labels for {unknown[0]!r}, but outputs are {', '.join(sorted(outputs))}")
    return dict(labels)


def class_labels(name: str, truth: Array, classes: int) -> Array:
    """``truth`` if it is integers that number ``classes`` from 0. Raises ``UserError``."""
    if truth.dtype.kind not in "iu":
        raise UserError(f"labels of output {name!r} are {truth.dtype}: classes are integers")
    if truth.size and (truth.min() < 0 or truth.max() >= classes):
        raise UserError(
            f"labels of output {name!r} run from {truth.min()} to {truth.max()}, "
            f"its classes from 0 to {classes - 1}: number the labels as the model does"
        )
    return truth
