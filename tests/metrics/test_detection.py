from __future__ import annotations

import contextlib
import io
import itertools
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pycocotools.coco import COCO
from pycocotools.cocoeval import COCOeval

from hil.config.spec import DetectionSpec
from hil.errors import UserError
from hil.metrics import open_metric

if TYPE_CHECKING:
    from collections.abc import Iterator

SPEC = DetectionSpec(layout="end-to-end")


def corners(outputs: dict[str, np.ndarray]) -> list[np.ndarray]:
    """A user's own way to read boxes."""
    return list(outputs["y"])


def _scenes(seed: int, images: int = 6, boxes: int = 4, classes: int = 3) -> tuple[np.ndarray, np.ndarray]:
    """Detections [images, 8, 6] that find most of the labels [images, boxes, 5], some twice, some of them wrong."""
    random = np.random.default_rng(seed)
    low = random.integers(0, 40, (images, boxes, 2))
    truth = np.concatenate([low, low + random.integers(4, 30, low.shape)], axis=2).astype(float)
    truth = np.concatenate([truth, random.integers(0, classes, (images, boxes, 1))], axis=2)
    truth[random.random((images, boxes)) < 0.2, 4] = -1
    found = np.repeat(truth, 2, axis=1)
    found[..., :4] += random.uniform(-1.9, 1.9, found[..., :4].shape)  # none loses its area
    found[..., 4] = np.where(
        random.random(found.shape[:2]) < 0.3, random.integers(0, classes, found.shape[:2]), found[..., 4]
    )
    scores = random.permutation(found.shape[0] * found.shape[1]).reshape(found.shape[:2]) / 1000 + 0.1
    return np.concatenate([found[..., :4], scores[..., None], found[..., 4:]], axis=2), truth


def _ours(found: np.ndarray, truth: np.ndarray, counts: np.ndarray | None = None, name: str = "map") -> float:
    metric = open_metric("detection", name=name, boxes_as=SPEC)
    evidence = metric.score({"y": found}, {"": truth})
    assert metric.pools is not None
    pool = metric.pools(evidence, evidence)[0]
    return float(pool(np.ones((1, len(truth))) if counts is None else counts[None])[0])


def _cocos(found: np.ndarray, truth: np.ndarray) -> tuple[float, float]:
    """MAP and AP50 of pycocotools' own pooling."""
    rows: dict[bool, list[dict[str, Any]]] = {True: [], False: []}
    for is_found, table in ((True, found), (False, truth)):
        for image, boxes in enumerate(table):
            for box in boxes[boxes[:, -1] >= 0]:
                size = box[2:4] - box[:2]
                one = {"image_id": image, "category_id": int(box[-1]), "bbox": [*box[:2], *size], "area": size.prod()}
                one |= {"id": len(rows[is_found]) + 1, "iscrowd": 0} | ({"score": box[4]} if is_found else {})
                rows[is_found].append(one)
    sides = []
    with contextlib.redirect_stdout(io.StringIO()):
        for is_found in (False, True):
            side = COCO()
            side.dataset = {
                "images": [{"id": image} for image in range(len(truth))],
                "categories": [{"id": one} for one in range(10)],
                "annotations": rows[is_found],
            }
            side.createIndex()
            sides.append(side)
        judge = COCOeval(*sides, "bbox")
        judge.evaluate()
        judge.accumulate()
        judge.summarize()
    return float(judge.stats[0]), float(judge.stats[1])


@pytest.mark.parametrize("seed", range(8))
def test_drawn_once_each_it_is_pycocotools_figure(seed: int) -> None:
    """To the last digits, with boxes found twice, of a wrong class, and images without any."""
    found, truth = _scenes(seed)
    coco = _cocos(found, truth)
    assert _ours(found, truth) == pytest.approx(coco[0], abs=1e-12)
    assert _ours(found, truth, name="map50") == pytest.approx(coco[1], abs=1e-12)


@settings(deadline=None, max_examples=15)
@given(st.integers(0, 1000), st.lists(st.integers(0, 3), min_size=6, max_size=6).filter(any))
def test_drawn_twice_it_is_as_if_the_image_were_there_twice(seed: int, counts: list[int]) -> None:
    """What a bootstrap asks: counts weigh as copies do."""
    found, truth = _scenes(seed)
    again = np.repeat(np.arange(6), counts)
    if not (truth[again][..., 4] >= 0).any():
        return
    assert _ours(found, truth, np.array(counts, float)) == pytest.approx(
        _cocos(found[again], truth[again])[0], abs=1e-9
    )


def test_perfect_boxes_score_one_and_none_score_nothing() -> None:
    """Both ends of the scale."""
    _, truth = _scenes(1)
    found = np.concatenate([truth[..., :4], np.where(truth[..., 4:] >= 0, 0.9, 0), truth[..., 4:]], axis=2)
    assert _ours(found, truth) == 1
    assert _ours(np.zeros((len(truth), 1, 6)), truth) == 0
    assert _ours(np.full((len(truth), 1, 6), np.nan), truth) == 0


def test_a_callable_reads_boxes_too() -> None:
    """The user's own decoding gives the same figure as the layout it stands for."""
    found, truth = _scenes(2)
    spec = DetectionSpec(decode="tests.metrics.test_detection:corners")
    metric = open_metric("detection", boxes_as=spec)
    assert np.array_equal(
        metric.score({"y": found}, {"": truth}),
        open_metric("detection", boxes_as=SPEC).score({"y": found}, {"": truth}),
    )


def test_a_decoder_without_end_is_refused() -> None:
    """No more tables are taken than a batch can have images."""
    metric = open_metric("detection", boxes_as=DetectionSpec(decode="tests.metrics.test_detection:endless"))
    with pytest.raises(UserError, match="boxes of 65536 images were decoded"):
        metric.score({"y": np.zeros((2, 1, 6))}, {"": _scenes(1)[1]})


def endless(_outputs: object) -> Iterator[np.ndarray]:
    """A decoder that never ends."""
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
def test_labels_that_are_no_boxes_are_the_users_mistake(truth: np.ndarray) -> None:
    """Another shape, boxes without area, a class between two."""
    with pytest.raises(UserError, match="label"):
        _ours(_scenes(0)[0], truth)
