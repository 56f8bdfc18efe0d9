"""COCO's mean average precision of boxes: matched by pycocotools image by image, pooled anew for each draw.

Precision is interpolated at 101 recalls and averaged over classes and over IoU 0.5 to 0.95 (``map``), or taken at 0.5
(``map50``), of the 100 surest boxes of an image: Lin et al., ECCV 2014, and ``COCOeval.accumulate`` of pycocotools,
which pools the same where every sample is drawn once.
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
"""Boxes of an image that count."""

IOUS = np.linspace(0.5, 0.95, 10)
RECALLS = np.linspace(0.0, 1.0, 101)
_COLUMNS = 2 + len(IOUS)  # class, score, and at each IoU whether it found a box
_NONE = -1.0
TRUTH = 5
"""Columns of labels: x1, y1, x2, y2, class."""


def metric(name: str, decode: Decode) -> Metric:
    """``map`` or ``map50`` of the boxes that ``decode`` reads. Raises ``Unsupported`` without pycocotools."""
    try:
        import pycocotools.cocoeval  # noqa: F401 - an early check that it can be imported
    except ImportError:
        raise Unsupported("detection is scored by pycocotools, which is not there: pip install pycocotools") from None

    def score(outputs: Arrays, labels: Arrays) -> FloatArray:
        found, truth = decode(outputs), _truth(labels)
        if len(found) != len(truth):
            raise UserError(f"boxes of {len(found)} images were decoded, labels are of {len(truth)}")
        return _evidence(found, truth)

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


def _evidence(found: list[Detections], truth: FloatArray) -> FloatArray:
    """Matched boxes and the classes that are there, a row a sample: shape (n, 100 * 12 + boxes)."""
    rows = np.full((len(found), MOST, _COLUMNS), _NONE)
    for image, (detected, boxes) in enumerate(zip(found, truth, strict=True)):
        detected = detected.surest(MOST)  # noqa: PLW2901 - no more than these count
        rows[image, : len(detected.scores)] = _matched(detected, boxes[boxes[:, 4] >= 0])
    return np.concatenate([rows.reshape(len(found), -1), truth[..., 4]], axis=1)


def _matched(found: Detections, boxes: FloatArray) -> FloatArray:
    """Class, score and hits of each detection of one image, by pycocotools."""
    from pycocotools.cocoeval import COCOeval

    rows = np.column_stack([found.classes, found.scores, np.zeros((len(found.scores), len(IOUS)))])
    if not len(boxes) or not len(rows):
        return rows
    with contextlib.redirect_stdout(io.StringIO()):  # it prints as it goes
        judge = COCOeval(_coco(boxes[:, :4], boxes[:, 4]), _coco(found.boxes, found.classes, found.scores), "bbox")
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
    made = COCO()
    made.dataset = {
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
    made.createIndex()
    return made


def average_precision(evidence: FloatArray, ious: FloatArray) -> Pool:
    """Mean average precision at the first of ``IOUS`` that ``ious`` has, over the classes that a draw's labels have."""
    rows = evidence[:, : MOST * _COLUMNS].reshape(len(evidence), MOST, _COLUMNS)
    truth = evidence[:, MOST * _COLUMNS :]
    classes = np.unique(truth[truth >= 0])
    by_class = [(_of_class(rows, one), (truth == one).sum(axis=1).astype(np.float64)) for one in classes]

    def pooled(counts: FloatArray) -> FloatArray:
        found = np.full((len(classes), len(counts)), np.nan)
        for at, ((images, hits), boxes) in enumerate(by_class):
            there = counts @ boxes
            found[at] = [
                _precision(weights[images], hits[:, : len(ious)], total) if total else np.nan
                for weights, total in zip(counts, there, strict=True)
            ]
        known = ~np.isnan(found)
        return np.asarray(np.nansum(found, axis=0) / np.maximum(known.sum(axis=0), 1), dtype=np.float64)

    return pooled


def _of_class(rows: FloatArray, one: float) -> tuple[Array, FloatArray]:
    """Of all detections of a class, the surest first: the sample of each, and its hits, shape (boxes, ious)."""
    samples, places = np.nonzero(rows[:, :, 0] == one)
    order = np.argsort(-rows[samples, places, 1], kind="mergesort")
    return samples[order], rows[samples[order], places[order], 2:]


def _precision(weights: FloatArray, hits: FloatArray, total: float) -> float:
    """One class's average precision over all IoUs, each detection counting ``weights`` times."""
    if not len(weights) or not weights.any():
        return 0.0
    right = np.cumsum(weights[:, None] * hits, axis=0)
    said = np.cumsum(weights)[:, None]
    precision = np.divide(right, said, out=np.zeros_like(right), where=said > 0)
    envelope = np.maximum.accumulate(precision[::-1], axis=0)[::-1]
    return float(
        np.mean([_interpolated(recall, best) for recall, best in zip((right / total).T, envelope.T, strict=True)])
    )


def _interpolated(recall: FloatArray, precision: FloatArray) -> float:
    at = np.searchsorted(recall, RECALLS, side="left")
    reached = at < len(recall)
    return float(precision[at[reached]].sum() / len(RECALLS))
