"""The user's own callables: a score a sample, or the boxes of each image."""

from __future__ import annotations

from itertools import islice
from typing import TYPE_CHECKING, Any

import numpy as np

from hil.callables import load_callable
from hil.errors import UserError
from hil.metrics.boxes import Decode, Detections, cleaned
from hil.metrics.metric import Arrays, FloatArray, Metric, Score

if TYPE_CHECKING:
    from pathlib import Path

    from hil.config.spec import DetectionSpec

MOST_IMAGES = 2**16
"""Tables taken of a decoder for one batch: one that yields without end shall not be waited for."""


def metric(task: str, root: Path, model: str, where: str) -> Metric:
    """Scores by ``package.module:callable``: outputs and labels of a batch to one finite score a sample."""
    return Metric(task, "score_drop", "", scorer(task, root, model, where))


def scorer(task: str, root: Path, model: str, where: str) -> Score:
    """The callable with its answer checked. Raises ``UserError`` where it cannot be had, and later where it is off."""
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


def decoder(spec: DetectionSpec, root: Path, model: str, where: str) -> Decode:
    """Reads boxes by the callable ``spec.decode``: a batch's outputs to an array [boxes, 6] for each image."""
    name = spec.decode or ""
    function = load_callable(name, root, model=model, where=f"{where}: decode")

    def decode(outputs: Arrays) -> list[Detections]:
        answer = function(dict(outputs))
        with function.blamed():
            tables = [np.asarray(one, dtype=np.float64).reshape(-1, 6) for one in islice(answer, MOST_IMAGES)]
        return [cleaned(_detections(one), spec.score, spec.nms) for one in tables]

    return decode


def _detections(table: np.ndarray[Any, np.dtype[np.float64]]) -> Detections:
    return Detections(table[:, :4], table[:, 4], np.round(table[:, 5]))
