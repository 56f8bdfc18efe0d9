"""Models with ``If``, ``Loop`` and ``Scan``: the bodies stay in float and read the right tensors of the outer graph."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from hil.config.spec import CalibrationSpec
from hil.diagnose.bisect import diagnose
from hil.errors import EngineBuildError
from hil.onnx_files.reference import cpu_session
from hil.quantize import quantize, read_ranges
from hil.quantize.activations import observe
from tests.memory_data import MemoryData

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    Nodes = Sequence[onnx.NodeProto]

RANDOM = np.random.default_rng(0)
WEIGHTS = {name: RANDOM.normal(0, 0.5, (8, 8)).astype(np.float32) for name in ("w0", "w1")}
CONSTANTS: dict[str, Any] = {"zero": np.float32(0), "three": np.int64(3), "yes": np.array([1], bool)[0]}


def value(name: str, element: int = TensorProto.FLOAT, shape: Sequence[int] | None = None) -> onnx.ValueInfoProto:
    """Return a declaration; without a shape, as exporters write it in bodies."""
    return helper.make_tensor_value_info(name, element, shape)


def product(source: str, weights: str, name: str) -> onnx.NodeProto:
    """Return a matrix product that is named as its output."""
    return helper.make_node("MatMul", [source, weights], [name], name=name)


def body(nodes: Nodes, result: str) -> onnx.GraphProto:
    """Return the body of a branch, which reads all its tensors from the outer graph."""
    return helper.make_graph(list(nodes), result, [], [value(result)])


def branches(source: str, then: Nodes, otherwise: Nodes) -> list[onnx.NodeProto]:
    """Return the nodes of ``If(max(source) > zero)``, called ``chosen``, whose bodies end with ``t`` and ``e``."""
    return [
        helper.make_node("ReduceMax", [source], ["top"], name="top", keepdims=0),
        helper.make_node("Greater", ["top", "zero"], ["ask"], name="ask"),
        helper.make_node("If", ["ask"], ["b"], "chosen", then_branch=body(then, "t"), else_branch=body(otherwise, "e")),
    ]


def model(path: Path, nodes: Nodes, opset: int = 13, functions: Sequence[onnx.FunctionProto] = ()) -> Path:
    """Write a model x[n, 8] to y[n, 8] with all of ``WEIGHTS`` and ``CONSTANTS``."""
    tensors = [numpy_helper.from_array(np.asarray(array), name) for name, array in (WEIGHTS | CONSTANTS).items()]
    ends = [value("x", shape=["n", 8])], [value("y", shape=["n", 8])]  # type: ignore[list-item]  # a name
    graph = helper.make_graph(list(nodes), "g", *ends, tensors)
    sets = [helper.make_opsetid("", opset), helper.make_opsetid("local", 1)]
    onnx.save(helper.make_model(graph, opset_imports=sets, ir_version=8, functions=list(functions)), path)
    return path


FIRST, LAST = product("x", "w0", "h"), product("b", "w1", "y")
NEGATED = [helper.make_node("Neg", ["h"], ["e"], name="neg")]
OLD = [
    helper.make_node("Unsqueeze", ["h"], ["u"], axes=[2]),
    helper.make_node("Squeeze", ["u"], ["s"], axes=[2]),
    helper.make_node("ReduceSum", ["s"], ["r"], axes=[1], keepdims=1),
    helper.make_node("Add", ["s", "r"], ["t"]),
]
"""Operators whose ``axes`` are an input since opset 13; the quantizer first converts older files to opset 13."""
NESTED = helper.make_node(
    "If",
    ["ask"],
    ["t"],
    then_branch=body([product("h", "w0", "d")], "d"),
    else_branch=body([helper.make_node("Abs", ["h"], ["n"])], "n"),
)
LOOP = helper.make_graph(
    [product("s", "w1", "m"), helper.make_node("Tanh", ["m"], ["s2"]), helper.make_node("Identity", ["c"], ["c2"])],
    "loop",
    [value("i", TensorProto.INT64, []), value("c", TensorProto.BOOL, []), value("s")],
    [value("c2", TensorProto.BOOL, []), value("s2")],
)
SCAN = helper.make_graph(
    [helper.make_node("Max", ["a", "p"], ["q"]), product("q", "w1", "o")],
    "scan",
    [value("a", shape=[8]), value("p", shape=[8])],
    [value("q", shape=[8]), value("o", shape=[8])],
)
FUNCTION = helper.make_function(
    "local",
    "F",
    ["h", "w1", "zero"],
    ["b"],
    branches("h", [product("h", "w1", "t")], NEGATED),
    [helper.make_opsetid("", 13)],
)
CASES: dict[str, tuple[Nodes, int]] = {
    "branches": ([FIRST, *branches("h", [product("h", "w1", "t")], NEGATED), LAST], 13),
    "nested": ([FIRST, *branches("h", [NESTED], NEGATED), LAST], 17),
    "old operators": ([FIRST, *branches("h", OLD, NEGATED), LAST], 11),
    "loop": ([FIRST, helper.make_node("Loop", ["three", "yes", "h"], ["b"], "loop", body=LOOP), LAST], 13),
    "scan": (
        [
            FIRST,
            helper.make_node("ReduceMax", ["h"], ["start"], name="start", axes=[0], keepdims=0),
            helper.make_node("Scan", ["start", "h"], ["end", "b"], "scan", body=SCAN, num_scan_inputs=1),
            LAST,
        ],
        13,
    ),
    "function": ([FIRST, helper.make_node("F", ["h", "w1", "zero"], ["b"], "call", domain="local"), LAST], 13),
}


@pytest.mark.parametrize("case", CASES)
def test_bodies_stay_in_float(tmp_path: Path, case: str) -> None:
    """Layers outside become INT8, layers in bodies stay in float, and the diagnosis has a note about the bodies."""
    nodes, opset = CASES[case]
    path = model(tmp_path / "m.onnx", nodes, opset, [FUNCTION] if case == "function" else [])
    data = MemoryData(x=RANDOM.normal(size=(32, 8)).astype(np.float32))
    made = quantize(path, tmp_path / "int8", data, CalibrationSpec(data="c.npz"))
    assert set(made.provenance["quantized"]) == {"h", "y"}
    inner = [why for why in made.provenance["skipped"].values() if "which stays in float" in why]
    ranges = read_ranges(made.path)
    assert bool(inner) == (case in {"loop", "scan"}), made.provenance["skipped"]  # elsewhere h has a range: y reads it
    feeds = {"x": data.inputs["x"][:8]}
    [expected], [obtained] = (cpu_session(file).run(None, feeds) for file in (path, made.path))
    assert float(np.abs(expected - obtained).max()) < 0.1 * float(np.abs(expected).max())
    assert not observe(
        path, {name: 127 * steps[0] for name, steps in ranges.scales.items() if len(steps) == 1}, data
    ).unknown
    diagnosis = diagnose(onnx.load(path), onnx.load(made.path), feeds, "int8")
    assert any(note.startswith("the bodies of ") for note in diagnosis.notes)
    assert 0 < diagnosis.outputs["y"] < 0.1


def test_a_model_with_all_its_layers_in_bodies(tmp_path: Path) -> None:
    """If all layers are in bodies, the message states that as the reason why nothing can become INT8."""
    start = helper.make_node("Identity", ["x"], ["h"], name="h")
    end = helper.make_node("Identity", ["b"], ["y"], name="y")
    path = model(tmp_path / "m.onnx", [start, *branches("h", [product("h", "w0", "t")], NEGATED), end])
    data = MemoryData(x=np.ones((4, 8), np.float32))
    with pytest.raises(EngineBuildError, match="are in bodies of If, Loop or Scan, which stay in float: remove int8"):
        quantize(path, tmp_path / "int8", data, CalibrationSpec(data="c.npz"))
