"""Scores segmentation by the mean IoU of the pixels' classes, over all samples (Everingham et al., IJCV 2010, 4.1)."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from hil.errors import UserError
from hil.metrics.metric import Array, Arrays, FloatArray, Metric, each, labelled

if TYPE_CHECKING:
    from hil.stats import Pool

IGNORE = 255
"""The label of ignored pixels, as in Pascal VOC and Cityscapes; negative labels are ignored too."""

MOST = 1024
"""The most classes of an output of integers; the evidence of a sample is two numbers per class."""


def metric(_name: str) -> Metric:
    """Return the metric ``miou``."""
    return Metric("miou", "miou_drop", "1", overlaps, each(miou))


def overlaps(outputs: Arrays, labels: Arrays) -> FloatArray:
    """Return, by class, how many pixels are in the intersection and the union of output and label: (n, classes, 2).

    The output is scores (n, classes, …) or integer classes (n, …). Labels are integers of shape (n, …); pixels with a
    label of 255 or below 0 are ignored. A pixel with a score that is not finite has no class. Raise ``UserError`` for
    labels that do not fit.
    """
    name, truth = labelled(outputs, labels)
    ours = outputs[name]
    if truth.dtype.kind not in "iu":
        raise UserError(f"labels of output {name!r} are {truth.dtype}, but pixels' classes are integers: save integers")
    chosen, classes = _chosen(name, ours, truth)
    counted = (truth >= 0) & (truth != IGNORE)
    if counted.any() and truth[counted].max() >= classes:
        raise UserError(
            f"labels of output {name!r} go up to {truth[counted].max()}, but its classes only to {classes - 1}: "
            "number them as the model does, with 255 for ignored pixels"
        )
    overlap = np.empty((len(truth), classes, 2))
    for row, (mine, true, count) in enumerate(zip(chosen, truth, counted, strict=True)):
        both = np.bincount(true[count & (mine == true)], minlength=classes)
        known = count & (mine >= 0)
        either = np.bincount(true[count], minlength=classes) + np.bincount(mine[known], minlength=classes) - both
        overlap[row] = np.stack([both, either], axis=1)
    return overlap


def _chosen(name: str, ours: Array, truth: Array) -> tuple[Array, int]:
    """Return the class that the output gives each pixel (-1 for none), and the number of classes."""
    if ours.dtype.kind in "iu":
        ours = ours[:, 0] if ours.ndim == truth.ndim + 1 and ours.shape[1] == 1 else ours
        if ours.shape != truth.shape:
            what = f"labels have shape {list(truth.shape)}, output {name!r} has {list(ours.shape)}"
            raise UserError(f"{what}: give one label per pixel of the output")
        highest = max((int(one[one != IGNORE].max(initial=0)) for one in (ours, truth)), default=0)
        if highest >= MOST or ours.min(initial=0) < 0:
            what = f"output {name!r} has classes from {ours.min()} to {highest}, but 0 to {MOST - 1} are supported"
            raise UserError(f"{what}: write a score of your own as task = 'package.module:callable'")
        return ours.astype(np.int64), MOST
    if ours.ndim != truth.ndim + 1 or (ours.shape[0], *ours.shape[2:]) != truth.shape:
        raise UserError(
            f"labels have shape {list(truth.shape)}, output {name!r} has {list(ours.shape)}, scores (n, classes, …): "
            "give one label per pixel of the output"
        )
    finite = np.isfinite(ours).all(axis=1)
    return np.where(finite, ours.argmax(axis=1), -1), ours.shape[1]


def miou(evidence: FloatArray) -> Pool:
    """Return the pool whose score is the mean IoU over classes.

    Classes that occur in neither the output nor the labels of a draw are left out.
    """
    present = evidence[:, :, 1].any(axis=0)
    both, either = (np.ascontiguousarray(evidence[:, present, part]) for part in (0, 1))

    def pooled(counts: FloatArray) -> FloatArray:
        unions = counts @ either
        with np.errstate(invalid="ignore", divide="ignore"):
            shares = np.where(unions > 0, counts @ both / unions, np.nan)
        present_in_draw = unions > 0
        return np.asarray(np.nansum(shares, axis=1) / np.maximum(present_in_draw.sum(axis=1), 1), dtype=np.float64)

    return pooled
