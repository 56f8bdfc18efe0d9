"""How samples reach the calibrator: in groups, so that ranges do not depend on how many samples one call takes."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import ml_dtypes
import numpy as np
import onnx
import pytest
from onnx import numpy_helper, parser

from hil.config.spec import CalibrationSpec
from hil.datasets.dataset import Batch
from hil.errors import UserError
from hil.quantize import quantize, read_ranges
from tests.memory_data import MemoryData
from tests.models import convnet, images

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

METHODS = ("minmax", "percentile", "entropy")


class Recordings(MemoryData):
    """Samples of different lengths, one a batch."""

    def __init__(self, lengths: list[int]) -> None:
        super().__init__(x=np.random.default_rng(4).normal(size=(len(lengths), max(lengths), 16)).astype(np.float32))
        self.lengths = lengths
        self.stride = 1

    def batches(self, size: int, limit: int | None = None) -> Iterator[Batch]:
        """Yield each sample, cut to its length."""
        for batch in super().batches(size, limit):
            yield Batch(batch.start, {"x": batch.inputs["x"][:, : self.lengths[batch.start]]}, {})


def settings(method: str) -> CalibrationSpec:
    """Return a calibration table."""
    return CalibrationSpec.model_validate({"data": "memory", "method": method})


@pytest.mark.parametrize("method", METHODS)
def test_one_sample_a_call_gives_the_same_ranges(tmp_path: Path, method: str) -> None:
    """A model that takes one sample a call gets the same ranges as one that takes many."""
    model = convnet(tmp_path / "m.onnx")
    together, one = MemoryData(image=images(80)), MemoryData(image=images(80))
    one.stride = 1
    first = quantize(model, tmp_path / "together", together, settings(method))
    second = quantize(model, tmp_path / "one", one, settings(method))
    ours, theirs = read_ranges(first.path).scales, read_ranges(second.path).scales
    assert ours.keys() == theirs.keys()
    for name, scales in ours.items():
        np.testing.assert_allclose(theirs[name], scales, rtol=1e-4, err_msg=name)
    assert second.provenance["samples"] == 80
    assert second.provenance["samples_digest"] == first.provenance["samples_digest"]


@pytest.mark.parametrize("method", METHODS)
def test_samples_of_different_length(tmp_path: Path, method: str) -> None:
    """Ranges cover samples of every length, also if the first ones are short."""
    model = parser.parse_model("""<ir_version: 9, opset_import: ["": 17]>
    g (float[batch, seq, 16] x) => (float[batch, seq, 8] y) { y = MatMul(x, w) }""")
    weights = np.random.default_rng(3).normal(size=(16, 8)).astype(np.float32)
    model.graph.initializer.append(numpy_helper.from_array(weights, "w"))
    onnx.save(model, tmp_path / "m.onnx")
    data = Recordings([2, 3, 9, 5] * 20)
    made = quantize(tmp_path / "m.onnx", tmp_path / "out", data, settings(method))
    largest = max(np.abs(batch.inputs["x"]).max() for batch in data.batches(1))
    [top] = (127 * scale for scale in read_ranges(made.path).scales["x"])
    assert 0.6 * largest < top <= 1.01 * largest
    assert made.provenance["samples"] == 80


def test_a_fixed_batch_without_samples(tmp_path: Path) -> None:
    """Data without samples is a user error, whatever the batch."""
    data: Any = MemoryData(image=images(1))
    data.stride, data.batches = 4, lambda *_: iter(())
    with pytest.raises(UserError, match="calibration data has no samples"):
        quantize(convnet(tmp_path / "m.onnx", batch=4), tmp_path / "out", data, settings("minmax"))


@pytest.mark.parametrize("method", METHODS)
def test_a_tensor_without_elements_has_no_scale(tmp_path: Path, method: str) -> None:
    """Nodes at a tensor that never has an element stay in float, and the layers after them become INT8."""
    text = """<ir_version: 8, opset_import: ["": 17]>
    g (float[n, s, 16] x, float[n, 0, 16] past) => (float[n, s, 8] y) {
        whole = Concat <axis = 1> (past, x)
        y = MatMul (whole, w)
    }"""
    model = parser.parse_model(text)
    weights = np.random.default_rng(1).normal(size=(16, 8)).astype(np.float32)
    model.graph.initializer.append(numpy_helper.from_array(weights, "w"))
    onnx.save(model, tmp_path / "m.onnx")
    x = np.random.default_rng(2).normal(size=(40, 4, 16)).astype(np.float32)
    data = MemoryData(x=x, past=np.zeros((40, 0, 16), np.float32))
    made = quantize(tmp_path / "m.onnx", tmp_path / "out", data, settings(method))
    assert set(read_ranges(made.path).scales) >= {"whole"}
    assert all(np.isfinite(scale).all() for scale in read_ranges(made.path).scales.values())
    assert made.provenance["floating"]["reasons"] == {"no range": 1}


@pytest.mark.parametrize("method", METHODS)
def test_an_input_of_a_type_that_numpy_lacks(tmp_path: Path, method: str) -> None:
    """A model with a bfloat16 input, computed in float32, has the ranges of its values."""
    text = """<ir_version: 10, opset_import: ["": 17]>
    g (bfloat16[n, 16] x) => (bfloat16[n, 8] y) {
        wide = Cast <to = 1> (x)
        made = MatMul (wide, w)
        y = Cast <to = 16> (made)
    }"""
    model = parser.parse_model(text)
    weights = np.random.default_rng(1).normal(size=(16, 8)).astype(np.float32)
    model.graph.initializer.append(numpy_helper.from_array(weights, "w"))
    onnx.save(model, tmp_path / "m.onnx")
    x = np.random.default_rng(2).uniform(-2, 2, (40, 16)).astype(ml_dtypes.bfloat16)
    made = quantize(tmp_path / "m.onnx", tmp_path / "out", MemoryData(x=x), settings(method))
    (scale,) = read_ranges(made.path).scales["wide"]
    assert scale == pytest.approx(2 / 127, rel=0.1)
