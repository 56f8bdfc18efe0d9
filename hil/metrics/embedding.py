"""Does an embedding still find its neighbours: of the same label, or without labels those that the reference finds?"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from hil.errors import UserError
from hil.metrics.metric import WHOLE, Arrays, FloatArray, Metric, mean, one_output

if TYPE_CHECKING:
    from hil.stats import Pool

_BLOCK = 512
"""Queries at a time."""

UNLABELLED = -1.0


def metric(_name: str) -> Metric:
    """``retrieval``."""
    return Metric("retrieval", "retrieval_drop", "1", embedded, retrieval, needs_labels=False)


def embedded(outputs: Arrays, labels: Arrays) -> FloatArray:
    """Each sample's label, or -1, before its embedding of unit length: shape (n, 1 + size).

    An embedding that is not finite, or zero, is NaN throughout and finds nothing. Raises ``UserError`` for labels
    that are not one integer a sample, from 0 on.
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
            f"labels of an embedding are one integer a sample, from 0 on: got {truth.dtype}{list(truth.shape)}"
        )
    return np.column_stack([truth.reshape(-1).astype(np.float64), unit])


def retrieval(reference: FloatArray, candidate: FloatArray) -> tuple[Pool, Pool]:
    """The share of samples whose nearest other one, by cosine, is right, for both sides; the gallery is all samples.

    Right is one of the same label. Without labels it is the one that the reference finds, so that the reference is
    always right. Raises ``UserError`` for less than two samples and for labels of which none is there twice.
    """
    if len(reference) < 2:  # a sample is not its own neighbour
        raise UserError("an embedding needs two samples or more: each looks for the other")
    labels = reference[:, 0]
    ours, theirs = nearest(reference[:, 1:]), nearest(candidate[:, 1:])
    if (labels == UNLABELLED).all():
        return mean((ours >= 0).astype(np.float64)), mean(((theirs == ours) & (ours >= 0)).astype(np.float64))
    values, times = np.unique(labels, return_counts=True)
    if times.max() < 2:
        raise UserError(f"all {len(values)} labels are there once: no sample has another to find")
    own = np.isin(labels, values[times > 1])
    found = [((at >= 0) & own & (labels[at] == labels)).astype(np.float64) for at in (ours, theirs)]
    return mean(found[0]), mean(found[1])


def nearest(unit: FloatArray) -> np.ndarray[tuple[int], np.dtype[np.int64]]:
    """The number of each vector's nearest other one, the first of equals; -1 for a vector of NaN. Shape (n,)."""
    sure = np.asarray(np.isfinite(unit).all(axis=1))
    safe = np.where(sure[:, None], unit, 0.0)
    found = np.full(len(unit), -1, dtype=np.int64)
    for start in range(0, len(unit), _BLOCK):
        likeness = safe[start : start + _BLOCK] @ safe.T
        likeness[:, ~sure] = -np.inf
        likeness[np.arange(len(likeness)), np.arange(start, start + len(likeness))] = -np.inf
        found[start : start + len(likeness)] = likeness.argmax(axis=1)
    found[~sure] = -1
    return found
