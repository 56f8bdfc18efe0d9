"""Defines a metric: evidence per sample, and the function that turns the evidence of all samples into a score."""

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
"""Key of labels without the name of an output: the array ``labels`` of a data set."""

Score = Callable[[Arrays, Arrays], FloatArray]
"""Maps a batch's outputs and labels by name to its evidence, float64 of shape (n, …)."""


@dataclass(frozen=True)
class Metric:
    """A metric of a task.

    Attributes:
        name: its name.
        key: the config key of the tolerance for a loss of score, such as ``top1_drop`` (``hil.checks.task.Scores``).
        unit: the unit of the score.
        score: maps outputs and labels of a batch, by name, to evidence of shape (n, …).
        pools: maps all evidence of the reference and of the engine to their ``Pool``; ``None`` if the score is a mean.
        needs_labels: whether the metric requires labels.
    """

    name: str
    key: str
    unit: str
    score: Score
    pools: Callable[[FloatArray, FloatArray], tuple[Pool, Pool]] | None = None
    needs_labels: bool = True

    @property
    def higher_is_better(self) -> bool:
        """Whether a higher score is better: false for an error."""
        return self.key != "error_increase"


def each(pool: Callable[[FloatArray], Pool]) -> Callable[[FloatArray, FloatArray], tuple[Pool, Pool]]:
    """Return a function for ``Metric.pools`` that applies ``pool`` to the reference and to the engine separately."""

    def both(reference: FloatArray, candidate: FloatArray) -> tuple[Pool, Pool]:
        return pool(reference), pool(candidate)

    return both


def mean(evidence: FloatArray) -> Pool:
    """Return the pool whose score is the mean of ``evidence``, shape (n,)."""

    def pooled(counts: FloatArray) -> FloatArray:
        return np.asarray(counts @ evidence / counts.sum(axis=1), dtype=np.float64)

    return pooled


def labelled(outputs: Arrays, labels: Arrays, *, ranked: bool = False) -> tuple[str, Array]:
    """Return the name of the output to score, and its labels.

    With ``ranked``, outputs of one dimension are ignored.

    Raises ``UserError`` if there are no labels, or if they do not belong to exactly one output.
    """
    if not labels:
        raise UserError("there are no labels to score by: add 'labels' to the data")
    if WHOLE not in labels:
        labels_by_output = pairs(outputs, labels)
        if len(labels_by_output) != 1:
            names = ", ".join(sorted(labels_by_output))
            raise UserError(f"there are labels for {names}, but this metric scores one output: give the labels of one")
        return next(iter(labels_by_output.items()))
    return one_output(outputs, ranked=ranked), labels[WHOLE]


def one_output(outputs: Arrays, *, ranked: bool = False) -> str:
    """Return the name of the only output that can be scored. Raises ``UserError`` if there is not exactly one.

    With ``ranked``, outputs of one dimension cannot be scored.
    """
    fitting = [name for name, output in outputs.items() if not ranked or output.ndim > 1]
    if len(fitting) != 1:
        names = ", ".join(sorted(outputs))
        raise UserError(f"labels could belong to any output of {names}: name the array 'labels.OUTPUT'")
    return fitting[0]


def pairs(outputs: Arrays, labels: Arrays) -> dict[str, Array]:
    """Return the labels by output; labels without an output's name are those of the only output.

    Raises ``UserError`` for labels of an unknown output, and for labels without a name if there are several outputs.
    """
    if WHOLE in labels:
        name, truth = labelled(outputs, labels)
        return {name: truth}
    unknown = sorted(set(labels) - set(outputs))
    if unknown:
        known = ", ".join(sorted(outputs))
        raise UserError(f"there are labels for {unknown[0]!r}, but the outputs are {known}: correct the array's name")
    return dict(labels)


def class_labels(name: str, truth: Array, classes: int) -> Array:
    """Return ``truth``. Raises ``UserError`` unless it holds integers from 0 to ``classes`` - 1."""
    if truth.dtype.kind not in "iu":
        raise UserError(f"labels of output {name!r} are {truth.dtype}, but classes are integers: save integers")
    if truth.size and (truth.min() < 0 or truth.max() >= classes):
        raise UserError(
            f"labels of output {name!r} run from {truth.min()} to {truth.max()}, "
            f"but its classes from 0 to {classes - 1}: number the labels as the model does"
        )
    return truth
