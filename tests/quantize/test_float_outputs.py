"""An output that its own node computes in float stays in float, whatever reads it."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import onnx
import onnxruntime
import pytest
from onnx import TensorProto, helper, numpy_helper

from hil.config.spec import CalibrationSpec
from hil.quantize import quantize, read_ranges
from tests.memory_data import MemoryData

if TYPE_CHECKING:
    from pathlib import Path

    from hil.runtimes import QdqLayout

RANDOM = np.random.default_rng(0)
WEIGHTS = {name: RANDOM.normal(0, 0.4, (4, 4)).astype(np.float32) for name in ("w", "r", "c")}
FEED = {name: RANDOM.normal(size=(32, 4)).astype(np.float32) for name in ("x", "h")}
LAYOUTS: tuple[QdqLayout, ...] = ("onnxruntime", "tensorrt")


def write_cell(path: Path, *outputs: str, last: str = "Tanh") -> Path:
    """Write ``hn = LAST(x w + h r)``, ``y = hn c``, with all inputs and outputs [n, 4]."""
    nodes = [
        helper.make_node("MatMul", ["x", "w"], ["xw"], name="xw"),
        helper.make_node("MatMul", ["h", "r"], ["hr"], name="hr"),
        helper.make_node("Add", ["xw", "hr"], ["total"], name="total"),
        helper.make_node(last, ["total"], ["hn"], name="hn"),
        helper.make_node("MatMul", ["hn", "c"], ["y"], name="y"),
    ]
    given, made = (
        [helper.make_tensor_value_info(one, TensorProto.FLOAT, ["n", 4]) for one in part] for part in (FEED, outputs)
    )
    weights = [numpy_helper.from_array(array, name) for name, array in WEIGHTS.items()]
    graph = helper.make_graph(nodes, "cell", given, made, weights)
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 13)], ir_version=7), path)
    return path


def quantized(path: Path, layout: QdqLayout, *excluded: str) -> tuple[Path, dict[str, onnx.NodeProto]]:
    """Return the model with Q and DQ nodes, and the node that makes each of its tensors."""
    spec = CalibrationSpec(data="c.npz", method="minmax", exclude_nodes=excluded)
    made = quantize(path, path.parent, MemoryData(x=FEED["x"], h=FEED["h"]), spec, layout=layout)
    model = onnx.load(made.path)
    onnx.checker.check_model(model, full_check=True)
    return made.path, {name: node for node in model.graph.node for name in node.output}


@pytest.mark.parametrize("layout", LAYOUTS)
def test_a_state_that_a_layer_reads_leaves_the_model_unrounded(tmp_path: Path, layout: QdqLayout) -> None:
    """An output of the model is not rounded, even if a layer reads the same tensor in INT8."""
    path, makers = quantized(write_cell(tmp_path / "m.onnx", "y", "hn"), layout)
    assert makers["hn"].op_type == "Tanh"
    layer = next(node for node in makers.values() if node.name == "y")
    dequantize = makers[layer.input[0]]
    assert dequantize.op_type == "DequantizeLinear"
    assert list(makers[dequantize.input[0]].input[:1]) == ["hn"]
    (scale,) = read_ranges(path).scales["hn"]
    assert scale == pytest.approx(np.abs(state()).max() / 127, rel=0.05)
    session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
    codes = session.run(["hn"], FEED)[0] / scale
    assert np.abs(codes - codes.round()).max() > 0.2, "it is not rounded to the range"


def state() -> np.ndarray:
    """Return the state of the cell in float."""
    return np.tanh(FEED["x"] @ WEIGHTS["w"] + FEED["h"] @ WEIGHTS["r"])


@pytest.mark.parametrize("layout", LAYOUTS)
def test_an_output_that_no_node_reads_is_as_before(tmp_path: Path, layout: QdqLayout) -> None:
    """An output that no node reads is rounded only for ONNX Runtime, which fuses the rounding."""
    _, makers = quantized(write_cell(tmp_path / "m.onnx", "y"), layout)
    assert makers["y"].op_type == ("DequantizeLinear" if layout == "onnxruntime" else "MatMul")


def test_an_output_of_a_node_in_int8_stays_fused_unless_it_is_excluded(tmp_path: Path) -> None:
    """For ONNX Runtime, an output of a node in INT8 stays in INT8 unless the node is excluded."""
    path = write_cell(tmp_path / "m.onnx", "y", "hn", last="Relu")
    assert quantized(path, "onnxruntime")[1]["hn"].op_type == "DequantizeLinear"
    assert quantized(path, "onnxruntime", "hn")[1]["hn"].op_type == "Relu"


@pytest.mark.parametrize("layout", LAYOUTS)
def test_an_output_that_is_an_input_leaves_the_model_as_it_came(tmp_path: Path, layout: QdqLayout) -> None:
    """An output that is an input too, which a layer reads in INT8, is the input's own value, in its place."""
    path, makers = quantized(write_cell(tmp_path / "m.onnx", "hn", "x", "y"), layout)
    layer = next(node for node in makers.values() if node.name == "xw")
    assert makers[layer.input[0]].op_type == "DequantizeLinear"
    session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
    assert [one.name for one in session.get_outputs()] == ["hn", "x", "y"]
    assert np.array_equal(session.run(["x"], FEED)[0], FEED["x"])
