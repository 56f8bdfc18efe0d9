"""Scores detection by COCO's mean average precision of boxes (Lin et al., ECCV 2014).

pycocotools matches the boxes of each image once; each bootstrap draw pools these matches again. Precision is
interpolated at 101 recalls and averaged over classes. ``map`` is also averaged over the IoU thresholds 0.5 to 0.95;
``map50`` uses only the threshold 0.5. Only the 100 boxes with the highest scores of each image count. If every sample
is drawn once and no image has more than 100 boxes, the result is that of ``COCOeval.accumulate`` of pycocotools.
"""

from __future__ import annotations

import contextlib
import io
from typing import TYPE_CHECKING, Any

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
TRUTH = 5
"""Number of columns of labels: x1, y1, x2, y2, class."""


def metric(name: str, decode: Decode) -> Metric:
    """Return the metric ``map`` or ``map50`` of decoded boxes. Raises ``Unsupported`` without pycocotools."""
    try:
        import pycocotools.cocoeval  # noqa: F401 - an early check that it can be imported
    except ImportError:
        raise Unsupported("detection needs pycocotools, which is not installed: pip install pycocotools") from None

    def score(outputs: Arrays, labels: Arrays) -> FloatArray:
        detections, truth = decode(outputs), _truth(labels)
        if len(detections) != len(truth):
            raise UserError(f"boxes of {len(detections)} images were decoded, but there are labels of {len(truth)}")
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
        raise UserError("labels have a box without area or a class that is no integer: give x1 < x2, y1 < y2 in pixels")
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

    A hit is 1.0 if pycocotools matches the detection with one of ``boxes`` at an IoU threshold of ``IOUS``, else 0.0.
    """
    from pycocotools.cocoeval import COCOeval

    classes, scores = detections.classes, detections.scores
    rows = np.column_stack([classes, scores, np.zeros((len(scores), len(IOUS)))])
    if not len(boxes) or not len(rows):
        return rows
    with contextlib.redirect_stdout(io.StringIO()):  # COCOeval prints its progress
        judge = COCOeval(_coco(boxes[:, :4], boxes[:, 4]), _coco(detections.boxes, classes, scores), "bbox")
        judge.params.areaRng, judge.params.areaRngLbl = [[0, 1e10]], ["all"]
        judge.params.maxDets = [MOST]
        judge.evaluate()
    for image in judge.evalImgs:
        for at, hits in zip(image["dtIds"] if image else (), image["dtMatches"].T if image else (), strict=True):
            rows[at - 1, 2:] = hits > 0
    return rows


def _coco(boxes: FloatArray, classes: FloatArray, scores: FloatArray | None = None) -> Any:
    from pycocotools.coco import COCO

    sizes = boxes[:, 2:] - boxes[:, :2]
    coco = COCO()
    coco.dataset = {
        "images": [{"id": 1}],
        "categories": [{"id": int(one)} for one in np.unique(classes)],
        "annotations": [
            {
                "id": at + 1,
                "image_id": 1,
                "category_id": int(classes[at]),
                "bbox": [*boxes[at, :2].tolist(), *sizes[at].tolist()],
                "area": float(sizes[at].prod()),
                "iscrowd": 0,
                **({} if scores is None else {"score": float(scores[at])}),
            }
            for at in range(len(boxes))
        ],
    }
    coco.createIndex()
    return coco


def average_precision(evidence: FloatArray, ious: FloatArray) -> Pool:
    """Return the pool whose score is the mAP at the IoU thresholds ``ious``, the first ones of ``IOUS``.

    The mean is over the classes that occur in the labels of a draw; it is 0 if none occurs.
    """
    rows = evidence[:, : MOST * _COLUMNS].reshape(len(evidence), MOST, _COLUMNS)
    truth = evidence[:, MOST * _COLUMNS :]
    classes = np.unique(truth[truth >= 0])
    by_class = [(_of_class(rows, one), (truth == one).sum(axis=1).astype(np.float64)) for one in classes]

    def pooled(counts: FloatArray) -> FloatArray:
        precisions = np.full((len(classes), len(counts)), np.nan)
        for at, ((images, hits), boxes) in enumerate(by_class):
            totals = counts @ boxes
            precisions[at] = [
                _precision(weights[images], hits[:, : len(ious)], total) if total else np.nan
                for weights, total in zip(counts, totals, strict=True)
            ]
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


def _precision(weights: FloatArray, hits: FloatArray, total: float) -> float:
    """Return the average precision of one class, averaged over the IoU thresholds.

    Each detection counts as often as ``weights`` states; ``total`` is the number of labelled boxes.
    """
    if not len(weights) or not weights.any():
        return 0.0
    right = np.cumsum(weights[:, None] * hits, axis=0)
    reported = np.cumsum(weights)[:, None]
    precision = np.divide(right, reported, out=np.zeros_like(right), where=reported > 0)
    envelope = np.maximum.accumulate(precision[::-1], axis=0)[::-1]
    return float(
        np.mean([_interpolated(recall, best) for recall, best in zip((right / total).T, envelope.T, strict=True)])
    )


def _interpolated(recall: FloatArray, precision: FloatArray) -> float:
    at = np.searchsorted(recall, RECALLS, side="left")
    reached = at < len(recall)
    return float(precision[at[reached]].sum() / len(RECALLS))
