"""Sequences from a folder with one file each, and their form as a model with a state takes them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from onnx import helper

from hil.config.load import load
from hil.datasets import open_dataset
from hil.errors import UserError
from hil.onnx_files.declared import declared_signature
from tests import recurrent
from tests.models import write as write_model

if TYPE_CHECKING:
    from pathlib import Path

    from hil.datasets import Dataset

LENGTHS = (5, 9, 2)


def opened(root: Path, source: str = "data", batch: int = 1) -> Dataset:
    """Open the data of a recurrent model with the state ``h``, stacked along axis 1."""
    path = recurrent.write_cell(root / "m.onnx")
    (root / "hil.toml").write_text(
        f'[models.m]\npath = "m.onnx"\ndata = "{source}"\nbatch = {batch}\n'
        '[models.m.inputs.h]\ncarry = "hn"\nbatch_axis = 1\n'
    )
    return data_of(root, path, source)


def data_of(root: Path, path: Path, source: str) -> Dataset:
    """Open the data ``source`` of the model in ``path`` as ``hil.toml`` declares it."""
    config = load(root / "hil.toml")
    signature = declared_signature(path, config.spec.models["m"], "m")
    return open_dataset(
        source, config=config, model="m", signature=signature, preprocess=None, ranges={}, where="hil.toml:3"
    )


def write(root: Path, **changed: Any) -> None:
    """Write a folder of sequences of different lengths; ``changed`` replaces arrays of the last."""
    folder = root / "data"
    folder.mkdir()
    for number, length in enumerate(LENGTHS):
        arrays: dict[str, Any] = {"x": np.full((length, 3), number, np.float32), "labels": np.zeros(length)}
        if number == len(LENGTHS) - 1:
            arrays.update(changed)
        np.savez(folder / f"{number}.npz", **arrays)


def test_each_file_is_a_sequence(tmp_path: Path) -> None:
    """Each file is a sequence of its own length, in the order of names; states begin with zeros."""
    write(tmp_path)
    data = opened(tmp_path)
    digest = data.digest
    batches = list(data.batches(1))
    assert (data.count, data.has_labels) == (3, True)
    for number, batch in enumerate(batches):
        assert batch.sequence is not None
        assert len(batch.sequence) == LENGTHS[number]
        assert batch.sequence.steps["x"].shape == (LENGTHS[number], 1, 3)
        assert batch.sequence.begin["h"].shape == (1, 1, 4)
        assert {name: array.shape for name, array in batch.feeds.items()} == {"x": (1, 3), "h": (1, 1, 4)}
        assert batch.labels[""].shape == (1, LENGTHS[number])
    (tmp_path / "data" / "2.npz").unlink()
    assert opened(tmp_path).digest != digest


def test_a_file_may_have_a_scalar_state(tmp_path: Path) -> None:
    """A state without axes is a scalar in each file, and so may be a label of the whole sequence."""
    path = write_model(
        tmp_path / "m.onnx",
        [helper.make_node("Add", ["x", "h"], ["y"]), helper.make_node("ReduceSum", ["y"], ["hn"], keepdims=0)],
        {"x": [1, 3], "h": []},
        {"y": [1, 3], "hn": []},
    )
    write(tmp_path)
    for number, file in enumerate(sorted((tmp_path / "data").iterdir())):
        x = np.full((LENGTHS[number], 3), number, np.float32)
        np.savez(file, x=x, h=np.float32(number), labels=np.array(number))
    (tmp_path / "hil.toml").write_text(
        '[models.m]\npath = "m.onnx"\ndata = "data"\n[models.m.inputs.h]\ncarry = "hn"\nbatch_axis = "none"\n'
    )
    batches = list(data_of(tmp_path, path, "data").batches(1))
    begins = [batch.sequence.begin["h"] for batch in batches if batch.sequence is not None]
    assert [(array.shape, float(array)) for array in begins] == [((), 0.0), ((), 1.0), ((), 2.0)]
    assert [batch.labels[""].tolist() for batch in batches] == [[0], [1], [2]]


@pytest.mark.parametrize(
    ("changed", "words"),
    [
        ({"x": np.zeros((1, 3), np.float32)}, "a sequence of 1 steps"),
        ({"x": np.zeros((4, 2), np.float32)}, "file 2.npz"),
        ({"x": np.zeros(4, np.float32)}, "a sample is a sequence"),
        ({"extra": np.zeros(4)}, "unknown 'extra'"),
        ({"h": np.zeros((1, 4), np.float32)}, "and 0.npz have different arrays"),
    ],
)
def test_a_file_that_is_no_sequence_is_named(tmp_path: Path, changed: dict[str, Any], words: str) -> None:
    """A file that is not a sequence is named, before anything runs."""
    write(tmp_path, **changed)
    with pytest.raises(UserError) as error:
        opened(tmp_path)
    assert words in str(error.value)


def test_sequences_of_different_lengths_share_no_batch(tmp_path: Path) -> None:
    """Sequences of different lengths in one batch are refused, with the key that helps."""
    write(tmp_path)
    with pytest.raises(UserError, match="batch = 1"):
        list(opened(tmp_path, batch=2).batches(2))


def test_sequences_of_a_batch_lie_along_the_batch_axis(tmp_path: Path) -> None:
    """A batch of sequences has the steps on its first axis, and begins with the states in the data."""
    x = recurrent.inputs(4, 7)
    h = np.random.default_rng(0).normal(size=(4, 1, 4)).astype(np.float32)
    np.savez(tmp_path / "data.npz", x=x, h=h)
    first, _ = opened(tmp_path, "data.npz", 2).batches(2)
    assert first.sequence is not None
    np.testing.assert_array_equal(first.sequence.steps["x"], np.moveaxis(x[:2], 0, 1))
    np.testing.assert_array_equal(first.sequence.begin["h"], np.moveaxis(h[:2], 0, 1))
    assert not first.sequence.is_still()


def test_labels_without_rows_are_read(tmp_path: Path) -> None:
    """A sequence may have no label, such as an event that does not occur in it."""
    write(tmp_path, labels=np.zeros((0, 4)))
    assert list(opened(tmp_path).batches(1))[-1].labels[""].shape == (1, 0, 4)


def test_synthetic_sequences_have_steps(tmp_path: Path) -> None:
    """Synthetic data for a model with a state consists of sequences."""
    batch = next(opened(tmp_path, "synthetic").batches(1))
    assert batch.sequence is not None
    assert len(batch.sequence) == 64
