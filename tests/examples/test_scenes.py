from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import onnxruntime
import pytest
from hypothesis import given
from hypothesis import strategies as st

from examples._export import content_digest
from examples.scenes.data import INK, MOST, SIZE, TRAINING, VALIDATION, enlarged, scenes
from hil.config.spec import DetectionSpec
from hil.metrics import open_metric

if TYPE_CHECKING:
    from pathlib import Path


@pytest.fixture
def folder(repository: Path) -> Path:
    """Return the folder of the example."""
    return repository / "examples" / "scenes"


def test_map_is_the_one_the_readme_states(folder: Path) -> None:
    """The mAP on the held-out scenes, by the project's metric, is that of the README up to rounding."""
    session = onnxruntime.InferenceSession(folder / "model.onnx", providers=["CPUExecutionProvider"])
    with np.load(folder / "validation.npz", allow_pickle=False) as data:
        outputs = dict(zip(("boxes", "scores"), session.run(None, {"image": data["image"]}), strict=True))
        metric = open_metric("detection", boxes_as=DetectionSpec(layout="boxes-scores", nms=0.5))
        evidence = metric.score(outputs, {"": data["labels"]})
    assert metric.pools is not None
    score = float(metric.pools(evidence, evidence)[0](np.ones((1, len(evidence))))[0])
    assert score == pytest.approx(0.826, abs=0.002)
    assert "**82.6 %**" in (folder / "README.md").read_text(encoding="utf-8")


def test_the_data_can_be_generated_again(folder: Path) -> None:
    """``data.py`` generates the stored scenes, and the training scenes whose digest the model names."""
    with np.load(folder / "validation.npz", allow_pickle=False) as stored:
        for name, array in scenes("validation", VALIDATION).items():
            assert np.array_equal(stored[name], array)
    session = onnxruntime.InferenceSession(folder / "model.onnx", providers=["CPUExecutionProvider"])
    digest = content_digest(scenes("train", TRAINING))
    assert session.get_modelmeta().custom_metadata_map["training_data"] == digest


def test_boxes_are_around_the_ink() -> None:
    """A scene has one to four digits; each box touches ink at all its edges, and no ink is outside the boxes."""
    made = scenes("calibration", 30)
    for image, rows in zip(made["image"][:, 0], made["labels"], strict=True):
        boxes = rows[rows[:, 4] >= 0]
        assert 1 <= len(boxes) <= MOST
        uncovered = image > INK
        for x1, y1, x2, y2 in boxes[:, :4].astype(int):
            ink = image[y1:y2, x1:x2] > INK
            assert ink.any(axis=0)[[0, -1]].all()
            assert ink.any(axis=1)[[0, -1]].all()
            uncovered[y1:y2, x1:x2] = False
        assert not uncovered.any()
        assert image.shape == (SIZE, SIZE)


@given(st.integers(12, 20))
def test_enlarging_keeps_grey_levels(side: int) -> None:
    """The pixels of an enlarged image are multiples of 1/16 between 0 and 1."""
    made = enlarged(np.eye(8, dtype=np.float32), side)
    assert made.shape == (side, side)
    assert np.array_equal(made * 16, np.round(made * 16))
    assert 0 <= made.min() <= made.max() <= 1
