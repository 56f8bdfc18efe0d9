"""Per-sample scores of a task: one number a sample, so that two engines can be compared in pairs.

Scores of a batch need only that batch's outputs and labels; the caller joins them.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from hil.callables import load_callable
from hil.errors import Unsupported, UserError

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    import numpy.typing as npt

    Array = npt.NDArray[Any]
    FloatArray = npt.NDArray[np.float64]
    Arrays = Mapping[str, Array]

WHOLE = ""
"""Key of labels that name no output: the array ``labels`` of a data set."""

NAMED = ("detection", "segmentation")
"""Tasks that are known by name but have no metric of our own yet."""


@dataclass(frozen=True)
class Metric:
    """How a task is scored.

    ``key`` is the tolerance its loss is held against (``hil.checks.task.Scores``), ``score`` maps the
    outputs and labels of a batch, by name, to float64 scores of shape (n,).
    """

    name: str
    key: str
    unit: str
    score: Callable[[Arrays, Arrays], FloatArray]

    @property
    def higher_is_better(self) -> bool:
        """False for an error."""
        return self.key != "error_increase"


def open_metric(task: str, root: Path = Path(), *, model: str = "", where: str = "task") -> Metric:
    """The metric of ``task``: classification, regression, or ``package.module:callable``.

    A callable takes outputs and labels of a batch as dicts of arrays and returns one finite score a
    sample, higher is better; its module is looked for in ``root`` first. ``model`` and ``where``
    (``hil.toml:12``) are for messages. Raises ``Unsupported`` for a task without a metric, ``UserError`` for an
    unknown one or a callable that cannot be had.
    """
    if task == "classification":
        return Metric(task, "top1_drop", "1", top1)
    if task == "regression":
        return Metric(task, "error_increase", "", absolute_error)
    if ":" in task:
        return Metric(task, "score_drop", "", _own(task, root, model, where))
    if task in NAMED:
        raise Unsupported(f"task {task!r} has no metric here: write task = 'package.module:callable' for your own")
    raise UserError(f"task {task!r} is not known: write classification, regression or package.module:callable")


def top1(outputs: Arrays, labels: Arrays) -> FloatArray:
    """1.0 where the largest entry along the last axis is the label's, else 0.0; shape (n,).

    Labels are integers in the shape of the output without its last axis (or with one of size 1); a sample
    of many decisions scores their mean. A row that is not all finite is a miss, not a choice.
    Raises ``UserError`` for labels that do not fit.
    """
    name, truth = _labelled(outputs, labels, ranked=True)
    logits = outputs[name]
    truth = truth[..., 0] if truth.ndim == logits.ndim and truth.shape[-1] == 1 else truth
    if truth.shape != logits.shape[:-1]:
        raise UserError(
            f"labels have shape {list(truth.shape)}, output {name!r} has {list(logits.shape)}: give one label a row"
        )
    if truth.dtype.kind not in "iu":
        raise UserError(f"labels of output {name!r} are {truth.dtype}: classification needs integers")
    if truth.size and (truth.min() < 0 or truth.max() >= logits.shape[-1]):
        raise UserError(
            f"labels of output {name!r} run from {truth.min()} to {truth.max()}, "
            f"its classes from 0 to {logits.shape[-1] - 1}: number the labels as the model does"
        )
    sure = np.isfinite(logits).all(axis=-1) if logits.dtype.kind == "f" else np.ones(truth.shape, dtype=bool)
    hits = (logits.argmax(axis=-1) == truth) & sure
    return np.asarray(hits.reshape(len(hits), -1).mean(axis=1), dtype=np.float64)


def absolute_error(outputs: Arrays, labels: Arrays) -> FloatArray:
    """Mean absolute error a sample, over all labelled outputs, each element counting once; shape (n,).

    Labels go by output (``labels.NAME``), in its shape and unit; ``labels`` alone is for a model of one
    output. Raises ``UserError`` for labels that do not fit.
    """
    pairs = _pairs(outputs, labels)
    total: FloatArray | None = None
    elements = 0
    for name, truth in pairs.items():
        output = outputs[name]
        if truth.shape != output.shape and truth.size == output.size and len(truth) == len(output):
            truth = truth.reshape(output.shape)  # noqa: PLW2901 - (n,) for (n, 1) is the same label
        if truth.shape != output.shape or not output.ndim:
            raise UserError(
                f"labels of output {name!r} have shape {list(truth.shape)}, the output has {list(output.shape)}"
            )
        error = np.abs(output.astype(np.float64) - truth.astype(np.float64)).reshape(len(output), -1)
        if total is not None and len(total) != len(error):
            raise UserError(f"labels of output {name!r} are of {len(error)} samples, the others of {len(total)}")
        total = error.sum(axis=1) if total is None else total + error.sum(axis=1)
        elements += error.shape[1]
    if total is None or not elements:
        raise UserError("there are no labels to score a regression by: add 'labels.OUTPUT' to the data")
    return np.asarray(total / elements, dtype=np.float64)


def _labelled(outputs: Arrays, labels: Arrays, *, ranked: bool) -> tuple[str, Array]:
    """The one output that is scored, and its labels."""
    if not labels:
        raise UserError("there are no labels to score by: add 'labels' to the data")
    if WHOLE not in labels:
        pairs = _pairs(outputs, labels)
        if len(pairs) != 1:
            raise UserError(f"labels are given for {', '.join(sorted(pairs))}: classification scores one output")
        return next(iter(pairs.items()))
    fitting = [name for name, output in outputs.items() if not ranked or output.ndim > 1]
    if len(fitting) != 1:
        there = ", ".join(sorted(outputs))
        raise UserError(f"labels could belong to any output of {there}: name it, 'labels.OUTPUT'")
    return fitting[0], labels[WHOLE]


def _pairs(outputs: Arrays, labels: Arrays) -> dict[str, Array]:
    if WHOLE in labels:
        name, truth = _labelled(outputs, labels, ranked=False)
        return {name: truth}
    unknown = sorted(set(labels) - set(outputs))
    if unknown:
        raise UserError(f"there are labels for {unknown[0]!r}, but outputs are {', '.join(sorted(outputs))}")
    return dict(labels)


def _own(task: str, root: Path, model: str, where: str) -> Callable[[Arrays, Arrays], FloatArray]:
    function = load_callable(task, root, model=model, where=f"{where}: task")

    def score(outputs: Arrays, labels: Arrays) -> FloatArray:
        scores = function(dict(outputs), dict(labels))
        with function.blamed():
            scores = np.asarray(scores, dtype=np.float64)
        samples = {len(output) for output in outputs.values() if output.ndim}
        if scores.ndim != 1 or scores.size not in samples:
            raise UserError(f"task {task!r} gave scores of shape {list(scores.shape)}: one a sample is needed")
        return scores

    return score
