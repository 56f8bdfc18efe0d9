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
    """As the project scores it, give or take by rounding."""
    session = onnxruntime.InferenceSession(folder / "model.onnx", providers=["CPUExecutionProvider"])
    with np.load(folder / "validation.npz", allow_pickle=False) as data:
        outputs = dict(zip(("boxes", "scores"), session.run(None, {"image": data["image"]}), strict=True))
        metric = open_metric("detection", boxes_as=DetectionSpec(layout="boxes-scores", nms=0.5))
        evidence = metric.score(outputs, {"": data["labels"]})
    assert metric.pools is not None
    found = float(metric.pools(evidence, evidence)[0](np.ones((1, len(evidence))))[0])
    assert found == pytest.approx(0.826, abs=0.002)
    assert "**82.6 %**" in (folder / "README.md").read_text(encoding="utf-8")


def test_the_data_is_composed_again(folder: Path) -> None:
    """The stored scenes are those that ``data.py`` makes, and the model names those it was trained on first."""
    with np.load(folder / "validation.npz", allow_pickle=False) as stored:
        for name, array in scenes("validation", VALIDATION).items():
            assert np.array_equal(stored[name], array)
    session = onnxruntime.InferenceSession(folder / "model.onnx", providers=["CPUExecutionProvider"])
    digest = content_digest(scenes("train", TRAINING))
    assert session.get_modelmeta().custom_metadata_map["training_data"] == digest


def test_boxes_are_around_the_ink() -> None:
    """One to four digits a scene; each box holds ink up to its edges, and no ink is outside of all boxes."""
    made = scenes("calibration", 30)
    for image, rows in zip(made["image"][:, 0], made["labels"], strict=True):
        boxes = rows[rows[:, 4] >= 0]
        assert 1 <= len(boxes) <= MOST
        left = image > INK
        for x1, y1, x2, y2 in boxes[:, :4].astype(int):
            ink = image[y1:y2, x1:x2] > INK
            assert ink.any(axis=0)[[0, -1]].all()
            assert ink.any(axis=1)[[0, -1]].all()
            left[y1:y2, x1:x2] = False
        assert not left.any()
        assert image.shape == (SIZE, SIZE)


@given(st.integers(12, 20))
def test_enlarging_keeps_grey_levels(side: int) -> None:
    """Sixteenths between the least and the greatest that were there."""
    made = enlarged(np.eye(8, dtype=np.float32), side)
    assert made.shape == (side, side)
    assert np.array_equal(made * 16, np.round(made * 16))
    assert 0 <= made.min() <= made.max() <= 1
