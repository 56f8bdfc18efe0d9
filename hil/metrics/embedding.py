"""Scores embeddings by retrieval: whether the nearest neighbour of each sample is the correct one."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from hil.errors import UserError
from hil.metrics.metric import WHOLE, Arrays, FloatArray, Metric, mean, one_output

if TYPE_CHECKING:
    from hil.stats import Pool

_BLOCK = 512
"""Number of queries that are compared at a time."""

UNLABELLED = -1.0


def metric(_name: str) -> Metric:
    """Return the metric ``retrieval``."""
    return Metric("retrieval", "retrieval_drop", "1", embedded, retrieval, needs_labels=False)


def embedded(outputs: Arrays, labels: Arrays) -> FloatArray:
    """Return the evidence of each sample, shape (n, 1 + size): the label (-1 without labels), then the unit embedding.

    An embedding that is zero or not finite becomes NaN. Raise ``UserError`` unless the labels are one non-negative
    integer per sample.
    """
    named = [name for name in labels if name != WHOLE]
    name = named[0] if named else one_output(outputs)
    vectors = outputs[name].astype(np.float64).reshape(len(outputs[name]), -1)
    with np.errstate(invalid="ignore", divide="ignore", over="ignore"):
        unit = vectors / np.linalg.norm(vectors, axis=1, keepdims=True)
    unit[~np.isfinite(unit).all(axis=1)] = np.nan
    truth = labels[name if named else WHOLE] if labels else None
    if truth is None:
        return np.column_stack([np.full(len(unit), UNLABELLED), unit])
    if truth.size != len(unit) or truth.dtype.kind not in "iu" or truth.min(initial=0) < 0:
        raise UserError(
            f"labels of an embedding are one integer per sample, from 0 on: got {truth.dtype}{list(truth.shape)}"
        )
    return np.column_stack([truth.reshape(-1).astype(np.float64), unit])


def retrieval(reference: FloatArray, candidate: FloatArray) -> tuple[Pool, Pool]:
    """Return the pools of both sides, whose score is the share of samples whose nearest other sample is correct.

    The nearest sample has the largest cosine. It is correct if it has the same label or, without labels, if the
    reference has the same nearest sample. Raise ``UserError`` for fewer than two samples, or if no label occurs twice.
    """
    if len(reference) < 2:  # a sample is not its own neighbour
        raise UserError("retrieval needs two samples or more: add samples")
    labels = reference[:, 0]
    ours, theirs = nearest(reference[:, 1:]), nearest(candidate[:, 1:])
    if (labels == UNLABELLED).all():
        return mean((ours >= 0).astype(np.float64)), mean(((theirs == ours) & (ours >= 0)).astype(np.float64))
    values, times = np.unique(labels, return_counts=True)
    if times.max() < 2:
        raise UserError(
            f"each of the {len(values)} labels occurs only once: retrieval needs samples that share a label"
        )
    own = np.isin(labels, values[times > 1])
    correct = [((at >= 0) & own & (labels[at] == labels)).astype(np.float64) for at in (ours, theirs)]
    return mean(correct[0]), mean(correct[1])


def nearest(unit: FloatArray) -> np.ndarray[tuple[int], np.dtype[np.int64]]:
    """Return the index of the nearest other vector for each vector, shape (n,); of equally near ones, the first.

    It is -1 for a vector with NaN.
    """
    finite = np.asarray(np.isfinite(unit).all(axis=1))
    safe = np.where(finite[:, None], unit, 0.0)
    indices = np.full(len(unit), -1, dtype=np.int64)
    for start in range(0, len(unit), _BLOCK):
        likeness = safe[start : start + _BLOCK] @ safe.T
        likeness[:, ~finite] = -np.inf
        likeness[np.arange(len(likeness)), np.arange(start, start + len(likeness))] = -np.inf
        indices[start : start + len(likeness)] = likeness.argmax(axis=1)
    indices[~finite] = -1
    return indices
