"""Scores detection by COCO's mean average precision of boxes (Lin et al., ECCV 2014).

``map`` is averaged over the IoU thresholds 0.5 to 0.95; ``map50`` uses only the threshold 0.5. Only the 100 boxes with
the highest scores of each image count. Over whole data sets the result is that of ``COCOeval.accumulate`` of
pycocotools.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from hil.errors import Unsupported, UserError
from hil.metrics.metric import WHOLE, Array, Arrays, FloatArray, Metric, each

if TYPE_CHECKING:
    from hil.metrics.boxes import Decode, Detections
    from hil.stats import Pool

MOST = 100
"""How many boxes of an image count, those with the highest scores."""

IOUS = np.linspace(0.5, 0.95, 10)
RECALLS = np.linspace(0.0, 1.0, 101)
_COLUMNS = 2 + len(IOUS)  # class, score, and for each IoU whether it matches a labelled box
_NONE = -1.0
_BLOCK = 2**19  # elements of the largest array of a block of draws: 4 MiB
TRUTH = 5
"""Number of columns of labels: x1, y1, x2, y2, class."""


def metric(name: str, decode: Decode) -> Metric:
    """Return the metric ``map`` or ``map50`` of decoded boxes. Raises ``Unsupported`` without pycocotools."""
    try:
        import pycocotools.mask  # noqa: F401 - an early check that it can be imported
    except ImportError:
        raise Unsupported("detection needs pycocotools, which is not installed: pip install pycocotools") from None

    def score(outputs: Arrays, labels: Arrays) -> FloatArray:
        detections, truth = decode(outputs), _truth(labels)
        if len(detections) != len(truth):
            what = f"boxes of {len(detections)} images were decoded, but there are labels of {len(truth)}"
            raise UserError(f"{what}: let decode return one array per sample, or correct the layout")
        return _evidence(detections, truth)

    pool = each(lambda evidence: average_precision(evidence, IOUS[:1] if name == "map50" else IOUS))
    return Metric(name, "map_drop", "1", score, pool)


def _truth(labels: Arrays) -> FloatArray:
    truth = labels.get(WHOLE)
    if truth is None or truth.ndim != 3 or truth.shape[-1] != TRUTH:  # (images, boxes, columns)
        got = "none" if truth is None else f"shape {list(truth.shape)}"
        raise UserError(
            f"labels of a detection are [images, boxes, 5], each x1 y1 x2 y2 class, -1 for no box: got {got}"
        )
    truth = truth.astype(np.float64)
    real = truth[truth[..., 4] >= 0]
    if (
        np.isnan(truth[..., 4]).any()
        or not np.isfinite(real).all()
        or (real[:, 2:4] <= real[:, :2]).any()
        or (real[:, 4] % 1).any()
    ):
        raise UserError(
            "labels have a box without area or a class that is not an integer: give x1 < x2, y1 < y2 in pixels"
        )
    return truth


def _evidence(detections: list[Detections], truth: FloatArray) -> FloatArray:
    """Return the evidence, one row per sample, shape (n, 100 * 12 + boxes).

    A row has the result of ``_matched`` for 100 detections, padded with -1, and the classes of the labelled boxes.
    """
    rows = np.full((len(detections), MOST, _COLUMNS), _NONE)
    for image, (detected, boxes) in enumerate(zip(detections, truth, strict=True)):
        detected = detected.best(MOST)  # noqa: PLW2901 - no others count
        rows[image, : len(detected.scores)] = _matched(detected, boxes[boxes[:, 4] >= 0])
    return np.concatenate([rows.reshape(len(detections), -1), truth[..., 4]], axis=1)


def _matched(detections: Detections, boxes: FloatArray) -> FloatArray:
    """Return class, score and hits of each detection of one image, shape (detections, 12).

    ``detections`` must be sorted by score, highest first. A hit is 1.0 if the detection matches one of ``boxes`` of its
    class at an IoU threshold of ``IOUS``, else 0.0.
    """
    rows = np.column_stack([detections.classes, detections.scores, np.zeros((len(detections.scores), len(IOUS)))])
    for one in np.unique(boxes[:, 4]):
        of_class = np.flatnonzero(detections.classes == one)
        if of_class.size:
            rows[of_class, 2:] = _hits(detections.boxes[of_class], boxes[boxes[:, 4] == one, :4])
    return rows


def _hits(detected: FloatArray, boxes: FloatArray) -> FloatArray:
    """Match boxes of one class as ``COCOeval.evaluateImg`` does; return hits of shape (detections, IoU thresholds).

    In the order of ``detected``, each detection matches the free box with the largest IoU, the last of equal ones, if
    the IoU is at least the threshold.
    """
    from pycocotools.mask import iou

    overlaps = iou(
        *(np.hstack([both[:, :2], both[:, 2:] - both[:, :2]]) for both in (detected, boxes)), [0] * len(boxes)
    )
    hits = np.zeros((len(detected), len(IOUS)))
    free = np.ones((len(IOUS), len(boxes)), dtype=bool)
    each_iou = np.arange(len(IOUS))
    for at in np.flatnonzero((overlaps >= IOUS[0]).any(axis=1)):
        fitting = np.where(free & (overlaps[at] >= IOUS[:, None]), overlaps[at], _NONE)
        best = len(boxes) - 1 - np.argmax(fitting[:, ::-1], axis=1)
        hits[at] = matched = fitting[each_iou, best] != _NONE
        free[each_iou, best] &= ~matched
    return hits


def average_precision(evidence: FloatArray, ious: FloatArray) -> Pool:
    """Return the pool whose score is the mAP at the IoU thresholds ``ious``, the first ones of ``IOUS``.

    ``evidence`` is that of ``metric``, shape (n, 100 * 12 + boxes). The mean is over the classes that occur in the
    labels of a draw; it is 0 if none occurs.
    """
    rows = evidence[:, : MOST * _COLUMNS].reshape(len(evidence), MOST, _COLUMNS)
    truth = evidence[:, MOST * _COLUMNS :]
    classes = np.unique(truth[truth >= 0])
    by_class = [(_of_class(rows, one), (truth == one).sum(axis=1).astype(np.float64)) for one in classes]

    def pooled(counts: FloatArray) -> FloatArray:
        draws = max(1, _BLOCK // max([1, *(len(images) for (images, _), _ in by_class)]))
        return np.concatenate([scores(counts[at : at + draws]) for at in range(0, len(counts), draws)])

    def scores(counts: FloatArray) -> FloatArray:
        precisions = np.array(
            [_precisions(counts[:, images], hits[:, : len(ious)], counts @ boxes) for (images, hits), boxes in by_class]
        ).reshape(len(by_class), len(counts))
        known = ~np.isnan(precisions)
        return np.asarray(np.nansum(precisions, axis=0) / np.maximum(known.sum(axis=0), 1), dtype=np.float64)

    return pooled


def _of_class(rows: FloatArray, one: float) -> tuple[Array, FloatArray]:
    """Return, for all detections of the class ``one``, highest score first: their sample's index, and their hits.

    The hits have shape (detections, IoU thresholds).
    """
    samples, places = np.nonzero(rows[:, :, 0] == one)
    order = np.argsort(-rows[samples, places, 1], kind="mergesort")
    return samples[order], rows[samples[order], places[order], 2:]


def _precisions(weights: FloatArray, hits: FloatArray, totals: FloatArray) -> FloatArray:
    """Return the average precision of one class in each draw, averaged over the IoU thresholds, shape (draws,).

    Each detection counts as often as ``weights``, shape (draws, detections), states. ``hits`` has shape (detections,
    IoU thresholds), and ``totals`` is the number of labelled boxes, shape (draws,); where it is 0, the result is NaN.
    """
    reported = np.cumsum(weights, axis=1)
    boxes = np.where(totals > 0, totals, np.nan)
    found = np.zeros(len(weights))
    for hit in hits.T:
        at = np.flatnonzero(hit)
        right = np.cumsum(weights[:, at], axis=1)
        precision = np.divide(right, reported[:, at], out=np.zeros_like(right), where=reported[:, at] > 0)
        envelope = np.maximum.accumulate(precision[:, ::-1], axis=1)[:, ::-1]
        recalls = np.searchsorted(RECALLS, right / boxes[:, None], side="right")  # how many are reached by then
        found += (envelope * np.diff(recalls, axis=1, prepend=0)).sum(axis=1)
    return np.asarray(np.where(totals > 0, found / (len(RECALLS) * hits.shape[1]), np.nan), dtype=np.float64)
