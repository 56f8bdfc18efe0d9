"""Scores regression by an error: mean absolute error, root mean square error, or angle."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from hil.errors import UserError
from hil.metrics.metric import Array, Arrays, FloatArray, Metric, each, pairs

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from hil.stats import Pool

QUATERNION = 4


def metric(name: str) -> Metric:
    """Return the metric ``mae``, ``rmse`` or ``angle``."""
    if name == "rmse":
        return Metric(name, "error_increase", "", squared_error, each(root_mean))
    if name == "angle":
        return Metric(name, "error_increase", "rad", angle)
    return Metric("mae", "error_increase", "", absolute_error)


def absolute_error(outputs: Arrays, labels: Arrays) -> FloatArray:
    """Return the mean absolute error of each sample over all elements of all labelled outputs; shape (n,).

    Labels have the shape and unit of their output (``labels.NAME``); ``labels`` alone is for a model with one output.
    Raises ``UserError`` for labels that do not fit.
    """
    return _averaged(outputs, labels, lambda ours, truth: np.abs(ours - truth))


def squared_error(outputs: Arrays, labels: Arrays) -> FloatArray:
    """Return the mean squared error of each sample; in all else like ``absolute_error``."""
    return _averaged(outputs, labels, lambda ours, truth: np.square(ours - truth))


def root_mean(evidence: FloatArray) -> Pool:
    """Return the pool whose score is the root of the mean of the squared errors ``evidence``, shape (n,)."""

    def pooled(counts: FloatArray) -> FloatArray:
        return np.asarray(np.sqrt(counts @ evidence / counts.sum(axis=1)), dtype=np.float64)

    return pooled


def angle(outputs: Arrays, labels: Arrays) -> FloatArray:
    """Return the mean angle in radians between estimate and truth of each sample, shape (n,).

    The size of the last axis selects the formula. 1: an angle, whose difference is wrapped to at most half a turn. 4: a
    quaternion, 2 arccos |p·q|. Any other size: a direction, arccos of the normalized dot product. Each output has the
    same weight in the mean.
    """
    angles = [_between(ours, truth).reshape(len(ours), -1).mean(axis=1) for ours, truth in _fitting(outputs, labels)]
    return np.asarray(np.mean(angles, axis=0), dtype=np.float64)


def _between(ours: FloatArray, truth: FloatArray) -> FloatArray:
    if ours.ndim == 1 or ours.shape[-1] == 1:
        return np.asarray(np.abs((ours - truth + np.pi) % (2 * np.pi) - np.pi), dtype=np.float64)
    with np.errstate(invalid="ignore", divide="ignore"):
        norms = np.linalg.norm(ours, axis=-1) * np.linalg.norm(truth, axis=-1)
        cosine = (ours * truth).sum(axis=-1) / norms
    if ours.shape[-1] == QUATERNION:
        return np.asarray(2 * np.arccos(np.minimum(np.abs(cosine), 1)), dtype=np.float64)
    return np.asarray(np.arccos(np.clip(cosine, -1, 1)), dtype=np.float64)


def _averaged(outputs: Arrays, labels: Arrays, error: Callable[[FloatArray, FloatArray], FloatArray]) -> FloatArray:
    total, elements = np.zeros(0), 0
    for ours, truth in _fitting(outputs, labels):
        errors = error(ours, truth).reshape(len(ours), -1)
        total = errors.sum(axis=1) if not elements else total + errors.sum(axis=1)
        elements += errors.shape[1]
    if not elements:
        raise UserError("there are no labels to score a regression by: add 'labels.OUTPUT' to the data")
    return np.asarray(total / elements, dtype=np.float64)


def _fitting(outputs: Arrays, labels: Arrays) -> Iterator[tuple[FloatArray, FloatArray]]:
    samples: int | None = None
    labels_by_output = pairs(outputs, labels)
    if not labels_by_output:
        raise UserError("there are no labels to score a regression by: add 'labels.OUTPUT' to the data")
    for name, values in labels_by_output.items():
        output, truth = outputs[name], _shaped(values, outputs[name])
        if truth.shape != output.shape or not output.ndim:
            raise UserError(
                f"labels of output {name!r} have shape {list(truth.shape)}, the output has {list(output.shape)}: save "
                "them in the shape of the output"
            )
        if samples is not None and samples != len(output):
            what = f"output {name!r} has {len(output)} samples, and the other labelled outputs have {samples}"
            raise UserError(f"{what}: give labels only for outputs with one row per sample")
        samples = len(output)
        yield output.astype(np.float64), truth.astype(np.float64)


def _shaped(truth: Array, output: Array) -> Array:
    if truth.shape != output.shape and truth.ndim and output.ndim and truth.size == output.size:
        return truth.reshape(output.shape) if len(truth) == len(output) else truth  # (n,) for (n, 1) is the same label
    return truth
