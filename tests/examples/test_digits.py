from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import onnxruntime
import pytest

from examples._export import content_digest
from examples.digits.data import split

if TYPE_CHECKING:
    from pathlib import Path


@pytest.fixture
def folder(repository: Path) -> Path:
    """Return the folder of the example."""
    return repository / "examples" / "digits"


def test_accuracy_is_the_one_the_readme_states(folder: Path) -> None:
    """535 of the 541 held-out images, over 97 %, are classified correctly; rounding may change one."""
    session = onnxruntime.InferenceSession(folder / "model.onnx", providers=["CPUExecutionProvider"])
    with np.load(folder / "validation.npz", allow_pickle=False) as data:
        correct = int(np.sum(session.run(None, {"image": data["image"]})[0].argmax(1) == data["labels"]))
        assert len(data["labels"]) == 541
    assert correct / 541 > 0.97
    assert abs(correct - 535) <= 1
    assert "**98.89 %**" in (folder / "README.md").read_text(encoding="utf-8")


def test_the_model_names_the_data_it_was_trained_on(folder: Path) -> None:
    """The digest in the model's metadata is the digest of ``train.npz``'s content."""
    session = onnxruntime.InferenceSession(folder / "model.onnx", providers=["CPUExecutionProvider"])
    with np.load(folder / "train.npz", allow_pickle=False) as data:
        digest = content_digest({"image": data["image"], "labels": data["labels"]})
    assert session.get_modelmeta().custom_metadata_map["training_data"] == digest


def test_pixels_are_grey_levels(folder: Path) -> None:
    """Every pixel is a multiple of 1/16 between 0 and 1, and each part contains every digit."""
    for part in ("train", "validation", "calibration"):
        with np.load(folder / f"{part}.npz", allow_pickle=False) as data:
            levels = data["image"] * 16
            assert np.array_equal(levels, np.round(levels))
            assert 0 <= levels.min() < levels.max() <= 16
            assert set(data["labels"]) == set(range(10))


def test_the_data_is_scikit_learns(folder: Path) -> None:
    """The stored parts are the split that ``data.py`` makes of scikit-learn's digits."""
    pytest.importorskip("sklearn")
    for part, arrays in split().items():
        with np.load(folder / f"{part}.npz", allow_pickle=False) as stored:
            for name, array in arrays.items():
                assert np.array_equal(stored[name], array)
