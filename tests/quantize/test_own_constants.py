"""No two nodes of an INT8 model for ONNX Runtime share a quantized constant, so that its sums are exact everywhere."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import onnx
import onnxruntime
import pytest
from onnx import numpy_helper, parser

from hil.agent.runtimes.onnxruntime import EXACT_PRODUCTS, open_session
from hil.config.spec import CalibrationSpec
from hil.quantize import quantize, read_ranges
from hil.quantize.activations import known_tensors
from tests.memory_data import MemoryData

if TYPE_CHECKING:
    from pathlib import Path

    from hil.runtimes import QdqLayout

DATA = np.random.default_rng(3).normal(size=(32, 8)).astype(np.float32)


def write_twins(path: Path) -> Path:
    """Write two layers that share one weight [8, 8] and one constant, which each layer adds and multiplies by."""
    model = parser.parse_model("""<ir_version: 9, opset_import: ["": 17]>
    g (float[n, 8] x) => (float[n, 8] y) {
        a = MatMul(x, w)  b = Add(a, three)  c = Relu(b)  d = Mul(c, three)
        e = MatMul(d, w)  f = Add(e, three)  g = Relu(f)  y = Mul(g, three)
    }""")
    arrays = {"w": np.random.default_rng(4).normal(0, 0.4, (8, 8)), "three": np.array([3.0])}
    model.graph.initializer.extend(
        numpy_helper.from_array(array.astype(np.float32), name) for name, array in arrays.items()
    )
    onnx.save(model, path)
    return path


def constants_of(path: Path) -> list[str]:
    """Return the names of the constants that DQ nodes read, each once for each node that reads the DQ node's output."""
    graph = onnx.load(path).graph
    stored = {one.name for one in graph.initializer}
    dequantized = {n.output[0]: n.input[0] for n in graph.node if n.op_type == "DequantizeLinear"}
    read = (dequantized[name] for node in graph.node for name in node.input if name in dequantized)
    return [name for name in read if name in stored]


@pytest.mark.parametrize("layout", ["onnxruntime", "tensorrt"])
def test_each_node_reads_its_own_quantized_constant(tmp_path: Path, layout: QdqLayout) -> None:
    """For ONNX Runtime, each reader of a shared constant has its own quantized copy, and products are exact."""
    spec = CalibrationSpec(data="c.npz", method="minmax")
    made = quantize(write_twins(tmp_path / "twins.onnx"), tmp_path, MemoryData(x=DATA), spec, layout=layout)
    names = constants_of(made.path)
    assert (len(names) == len(set(names)) > 2) is (layout == "onnxruntime")
    if layout == "onnxruntime":
        settings = onnxruntime.SessionOptions()
        session = open_session(str(made.path), settings)
        assert settings.get_session_config_entry(EXACT_PRODUCTS) == "1"
        assert np.isfinite(session.run(None, {"x": DATA})[0]).all()


def test_each_range_is_of_a_tensor_that_the_audit_knows(tmp_path: Path) -> None:
    """Copies of a constant have ranges under names that the audit knows."""
    spec = CalibrationSpec(data="c.npz", method="minmax")
    made = quantize(write_twins(tmp_path / "twins.onnx"), tmp_path, MemoryData(x=DATA), spec, layout="onnxruntime")
    scales = read_ranges(made.path).scales
    assert any("@" in name for name in scales)
    assert set(scales) <= set().union(*known_tensors(tmp_path / "twins.onnx"))
