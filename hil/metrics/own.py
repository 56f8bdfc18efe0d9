"""Wraps callables of the user: one that scores samples, and one that decodes the boxes of each image."""

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
"""The most images read from a decoder for one batch, in case it yields without end."""


def metric(task: str, root: Path, model: str, where: str) -> Metric:
    """Return the metric whose score is the callable ``task`` (``package.module:callable``); see ``open_metric``."""
    return Metric(task, "score_drop", "", scorer(task, root, model, where))


def scorer(task: str, root: Path, model: str, where: str) -> Score:
    """Return a function that calls the callable ``task`` and checks its scores.

    Raises ``UserError`` if the callable cannot be imported.

    The returned function raises ``UserError`` if the callable fails or the scores have the wrong shape.
    """
    function = load_callable(task, root, model=model, where=f"{where}: task")

    def score(outputs: Arrays, labels: Arrays) -> FloatArray:
        scores = function(dict(outputs), dict(labels))
        with function.blamed():
            scores = np.asarray(scores, dtype=np.float64)
        samples = {len(output) for output in outputs.values() if output.ndim}
        if scores.ndim != 1 or scores.size not in samples:
            raise UserError(f"task {task!r} gave scores of shape {list(scores.shape)}: return one score per sample")
        return scores

    return score


def decoder(spec: DetectionSpec, root: Path, model: str, where: str) -> Decode:
    """Return a decoder that calls ``spec.decode``, a callable that maps outputs to an array [boxes, 6] per image.

    The decoder also applies the score threshold and the non-maximum suppression of ``spec``. Raises ``UserError`` if
    the callable cannot be imported.
    """
    name = spec.decode or ""
    function = load_callable(name, root, model=model, where=f"{where}: decode")

    def decode(outputs: Arrays) -> list[Detections]:
        result = function(dict(outputs))
        with function.blamed():
            tables = [np.asarray(table, dtype=np.float64).reshape(-1, 6) for table in islice(result, MOST_IMAGES)]
        return [cleaned(_detections(table), spec.score, spec.nms) for table in tables]

    return decode


def _detections(table: np.ndarray[Any, np.dtype[np.float64]]) -> Detections:
    return Detections(table[:, :4], table[:, 4], np.round(table[:, 5]))
