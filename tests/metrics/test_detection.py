from __future__ import annotations

import contextlib
import io
import itertools
from typing import TYPE_CHECKING, Any
from unittest import mock

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pycocotools.coco import COCO
from pycocotools.cocoeval import COCOeval

from hil.config.spec import DetectionSpec
from hil.errors import UserError
from hil.metrics import detection, open_metric, own

if TYPE_CHECKING:
    from collections.abc import Iterator

SPEC = DetectionSpec(layout="end-to-end")


def corners(outputs: dict[str, np.ndarray]) -> list[np.ndarray]:
    """Return the boxes: a user's own decoder."""
    return list(outputs["y"])


def _scenes(seed: int, images: int = 6, boxes: int = 4, classes: int = 3) -> tuple[np.ndarray, np.ndarray]:
    """Return detections [images, 2 * ``boxes``, 6], some of a wrong class, and labels [images, ``boxes``, 5]."""
    random = np.random.default_rng(seed)
    low = random.integers(0, 40, (images, boxes, 2))
    truth = np.concatenate([low, low + random.integers(4, 30, low.shape)], axis=2).astype(float)
    truth = np.concatenate([truth, random.integers(0, classes, (images, boxes, 1))], axis=2)
    truth[random.random((images, boxes)) < 0.2, 4] = -1
    detections = np.repeat(truth, 2, axis=1)
    detections[..., :4] += random.uniform(-1.9, 1.9, detections[..., :4].shape)  # every box keeps an area
    detections[..., 4] = np.where(
        random.random(detections.shape[:2]) < 0.3, random.integers(0, classes, detections.shape[:2]), detections[..., 4]
    )
    scores = random.permutation(detections.shape[0] * detections.shape[1]).reshape(detections.shape[:2]) / 1000 + 0.1
    return np.concatenate([detections[..., :4], scores[..., None], detections[..., 4:]], axis=2), truth


def _ours(detections: np.ndarray, truth: np.ndarray, counts: np.ndarray | None = None, name: str = "map") -> float:
    metric = open_metric("detection", name=name, boxes_as=SPEC)
    evidence = metric.score({"y": detections}, {"": truth})
    assert metric.pools is not None
    pool = metric.pools(evidence, evidence)[0]
    return float(pool(np.ones((1, len(truth))) if counts is None else counts[None])[0])


def _cocos(detections: np.ndarray, truth: np.ndarray) -> tuple[float, float]:
    """Return mAP and AP50 as pycocotools computes them."""
    rows: dict[bool, list[dict[str, Any]]] = {True: [], False: []}
    for is_detection, table in ((True, detections), (False, truth)):
        for image, boxes in enumerate(table):
            for box in boxes[boxes[:, -1] >= 0]:
                size = box[2:4] - box[:2]
                entry = {"image_id": image, "category_id": int(box[-1]), "bbox": [*box[:2], *size], "area": size.prod()}
                entry |= {"id": len(rows[is_detection]) + 1, "iscrowd": 0} | ({"score": box[4]} if is_detection else {})
                rows[is_detection].append(entry)
    sides = []
    with contextlib.redirect_stdout(io.StringIO()):
        for is_detection in (False, True):
            side = COCO()
            side.dataset = {
                "images": [{"id": image} for image in range(len(truth))],
                "categories": [{"id": category} for category in range(10)],
                "annotations": rows[is_detection],
            }
            side.createIndex()
            sides.append(side)
        judge = COCOeval(*sides, "bbox")
        judge.evaluate()
        judge.accumulate()
        judge.summarize()
    return float(judge.stats[0]), float(judge.stats[1])


@pytest.mark.parametrize("crowded", [False, True])
@pytest.mark.parametrize("seed", range(8))
def test_the_score_equals_pycocotools(seed: int, crowded: bool) -> None:
    """The mAP and AP50 equal those of pycocotools, also with duplicate and wrong boxes and images without boxes."""
    detections, truth = _scenes(seed, boxes=16, classes=1) if crowded else _scenes(seed)
    coco = _cocos(detections, truth)
    assert _ours(detections, truth) == pytest.approx(coco[0], abs=1e-12)
    assert _ours(detections, truth, name="map50") == pytest.approx(coco[1], abs=1e-12)


@settings(deadline=None, max_examples=15)
@given(st.integers(0, 1000), st.lists(st.integers(0, 3), min_size=6, max_size=6).filter(any))
def test_a_bootstrap_count_weighs_as_copies_of_the_image(seed: int, counts: list[int]) -> None:
    """An image counted n times scores as n copies of it."""
    detections, truth = _scenes(seed)
    again = np.repeat(np.arange(6), counts)
    if not (truth[again][..., 4] >= 0).any():
        return
    assert _ours(detections, truth, np.array(counts, float)) == pytest.approx(
        _cocos(detections[again], truth[again])[0], abs=1e-9
    )


def _plainly(evidence: np.ndarray, counts: np.ndarray, thresholds: int) -> float:
    """Return the mAP of the draw ``counts`` from its definition, with each image repeated as often as it was drawn."""
    drawn = np.repeat(evidence, counts, axis=0)
    rows, truth = drawn[:, :1200].reshape(-1, 12), drawn[:, 1200:]
    precisions = []
    for one in np.unique(truth[truth >= 0]):
        of_class = rows[rows[:, 0] == one]
        hits = of_class[np.argsort(-of_class[:, 1]), 2 : 2 + thresholds]
        for right in np.cumsum(hits, axis=0).T:
            recall, precision = right / (truth == one).sum(), right / np.arange(1, len(right) + 1)
            reached = np.linspace(0, 1, 101)[:, None] <= recall
            precisions.append((reached * precision).max(axis=1, initial=0).mean())
    return float(np.mean(precisions)) if precisions else 0.0


@settings(deadline=None, max_examples=20)
@given(
    st.integers(0, 1000),
    st.integers(1, 3),
    st.lists(st.lists(st.integers(0, 3), min_size=6, max_size=6), min_size=1, max_size=4),
    st.sampled_from([1, 10]),
    st.sampled_from([1, 64, 2**19]),
)
def test_every_draw_scores_as_the_definition_states(
    seed: int, classes: int, draws: list[list[int]], thresholds: int, block: int
) -> None:
    """Each of many draws has the score of the definition, whatever the size of the blocks they are computed in."""
    detections, truth = _scenes(seed, classes=classes)
    evidence = open_metric("detection", boxes_as=SPEC).score({"y": detections}, {"": truth})
    counts = np.array(draws)
    with mock.patch.object(detection, "_BLOCK", block):
        scores = detection.average_precision(evidence, detection.IOUS[:thresholds])(counts.astype(float))
    assert scores == pytest.approx([_plainly(evidence, one, thresholds) for one in counts], abs=1e-12)


def test_perfect_boxes_score_one_and_missing_boxes_zero() -> None:
    """Perfect boxes score 1; no boxes and boxes of NaN score 0."""
    _, truth = _scenes(1)
    detections = np.concatenate([truth[..., :4], np.where(truth[..., 4:] >= 0, 0.9, 0), truth[..., 4:]], axis=2)
    assert _ours(detections, truth) == 1
    assert _ours(np.zeros((len(truth), 1, 6)), truth) == 0
    assert _ours(np.full((len(truth), 1, 6), np.nan), truth) == 0


def test_a_callable_may_decode_boxes() -> None:
    """A user's decoder gives the same score as the equivalent layout."""
    detections, truth = _scenes(2)
    spec = DetectionSpec(decode="tests.metrics.test_detection:corners")
    metric = open_metric("detection", boxes_as=spec)
    assert np.array_equal(
        metric.score({"y": detections}, {"": truth}),
        open_metric("detection", boxes_as=SPEC).score({"y": detections}, {"": truth}),
    )


def test_a_decoder_without_end_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    """A decoder that yields more tables than a batch can have images is refused."""
    monkeypatch.setattr(own, "MOST_IMAGES", 100)
    metric = open_metric("detection", boxes_as=DetectionSpec(decode="tests.metrics.test_detection:endless"))
    with pytest.raises(UserError, match="boxes of 100 images were decoded"):
        metric.score({"y": np.zeros((2, 1, 6))}, {"": _scenes(1)[1]})


def endless(_outputs: object) -> Iterator[np.ndarray]:
    """Yield tables without end."""
    return itertools.repeat(np.empty((0, 6)))


@pytest.mark.parametrize(
    "truth",
    [
        np.zeros((6, 2)),
        np.zeros((6, 1, 4)),
        np.zeros((6, 1, 5)),
        np.full((6, 1, 5), np.nan),
        np.tile([0, 0, 4, 4, 0.5], (6, 1, 1)),
    ],
)
def test_labels_that_are_not_boxes_are_refused(truth: np.ndarray) -> None:
    """Labels of another shape, without area, with NaN or a fractional class are refused."""
    with pytest.raises(UserError, match="label"):
        _ours(_scenes(0)[0], truth)
