"""Each known cause of a model that ONNX Runtime cannot load, with a real file, and its advice followed."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper

from hil.agent.failure import Failure
from hil.agent.runtimes.onnxruntime import CAUSES, OnnxRuntime
from hil.errors import HilError
from hil.onnx_files.reference import cpu_session
from tests.models import convnet, externalize, write

if TYPE_CHECKING:
    from pathlib import Path


def one(path: Path, op: str, element: int = TensorProto.FLOAT, opset: int = 13, **attributes: Any) -> Path:
    """Write a model of one node."""
    node = helper.make_node(op, ["x"], ["y"], name="odd", **attributes)
    return write(path, [node], {"x": ["n", 8]}, {"y": ["n", 8]}, opset=opset, dtype=element)


def changed(path: Path, **fields: int) -> Path:
    """Set fields of the model in the file, such as ``ir_version`` or ``opset``; return the path."""
    model = onnx.load(path)
    for name, value in fields.items():
        if name == "opset":
            model.opset_import[0].version = value
        else:
            setattr(model, name, value)
    path.write_bytes(model.SerializeToString())
    return path


def without_weights(path: Path) -> Path:
    """Write a model, then rename its external data file; return the model's path."""
    data = externalize(convnet(path))
    data.rename(data.with_suffix(".elsewhere"))
    return path


def with_weights(path: Path) -> None:
    """Give the external data file its name back."""
    [data] = path.parent.glob("*.elsewhere")
    data.rename(data.with_suffix(".data"))


def cut(path: Path, size: int) -> Path:
    """Write only the first ``size`` bytes of a model; return the path."""
    path.write_bytes(convnet(path).read_bytes()[:size])
    return path


def wide(path: Path) -> Path:
    """Write a matrix product whose input is declared with 9 columns, although the weights need 8."""
    node = helper.make_node("MatMul", ["x", "w"], ["y"], name="fc")
    return write(path, [node], {"x": ["n", 9]}, {"y": ["n", 2]}, {"w": np.ones((8, 2), np.float32)})


def cast_before(path: Path) -> None:
    """Write ``Erf`` of int32 again, with a Cast to float before it and one back after it."""
    nodes = [helper.make_node("Cast", ["x"], ["c"], to=TensorProto.FLOAT), helper.make_node("Erf", ["c"], ["e"])]
    nodes.append(helper.make_node("Cast", ["e"], ["y"], to=TensorProto.INT32))
    write(path, nodes, {"x": ["n", 8]}, {"y": ["n", 8]}, dtype=TensorProto.INT32)


def as_declared(path: Path) -> None:
    """Declare the size that the network expects."""
    model = onnx.load(path)
    model.graph.input[0].type.tensor_type.shape.dim[1].dim_value = 8
    onnx.save(model, path)


def typed(path: Path, element: int) -> None:
    """Write a model whose output has the type ``element``, with int64 as the only right one."""
    one(path, "ArgMax", axis=1, keepdims=1)
    model = onnx.load(path)
    model.graph.output[0].type.tensor_type.elem_type = element
    onnx.save(model, path)


CASES: dict[str, tuple[Any, Any]] = {
    "Unsupported model IR version": (
        lambda path: changed(convnet(path), ir_version=99),
        lambda path: changed(path, ir_version=7),
    ),
    "is till opset": (lambda path: changed(convnet(path), opset=99), convnet),
    "External data path": (without_weights, with_weights),
    "Protobuf parsing failed": (lambda path: cut(path, 700), convnet),
    "No graph was found": (lambda path: cut(path, 0), convnet),
    "No Op registered": (lambda path: one(path, "Gelu"), lambda path: one(path, "Gelu", opset=20)),
    "Unrecognized attribute": (lambda path: one(path, "Relu", foo=1), lambda path: one(path, "Relu")),
    "ShapeInferenceError": (wide, as_declared),
    "of output arg": (lambda path: typed(path, TensorProto.INT32), lambda path: typed(path, TensorProto.INT64)),
    "Type Error": (lambda path: one(path, "Erf", TensorProto.INT32), cast_before),
    "Could not find an implementation": (
        lambda path: one(path, "Erf", TensorProto.BFLOAT16),
        lambda path: one(path, "Erf"),
    ),
}


WHILE_RUNNING = {"re-use buffer", "indices element out of data bounds"}
"""Causes that show only when the model runs, not when it is loaded; each has a test of its own."""


@pytest.mark.parametrize("words", CASES)
def test_the_advice_helps(tmp_path: Path, words: str) -> None:
    """The target's failure has the advice for its cause, and the model loads once the advice was followed."""
    make, follow = CASES[words]
    path = tmp_path / "m.onnx"
    make(path)
    helps = dict(CAUSES)[words]
    with pytest.raises(Failure) as failed:
        OnnxRuntime().load(str(path), {})
    assert failed.value.advice == helps
    with pytest.raises(HilError) as raised:
        cpu_session(path)
    assert str(raised.value).endswith(helps) or "with 8 on axis 1 it fits" in str(raised.value)
    follow(path)
    OnnxRuntime().load(str(path), {}).close()


def test_equal_names_of_sizes_that_differ(tmp_path: Path) -> None:
    """A dimension name with two different sizes fails in the run, not in the load; the advice is about these names."""
    steps = [("Neg", ["x"], "t"), ("Concat", ["t", "t"], "u"), ("Neg", ["u"], "v"), ("Relu", ["v"], "w")]
    nodes = [helper.make_node(op, takes, [gives]) for op, takes, gives in (*steps, ("Neg", ["w"], "y"))]
    nodes[1].attribute.append(helper.make_attribute("axis", 0))
    path = write(tmp_path / "m.onnx", nodes, {"x": ["n"]}, {"y": ["n"]})
    model = onnx.load(path)
    inner = [helper.make_tensor_value_info(name, TensorProto.FLOAT, ["n"]) for name in "tuvw"]
    model.graph.value_info.extend(inner)
    onnx.save(model, path)
    engine, feed = OnnxRuntime().load(str(path), {}), {"x": np.ones(2, np.float32)}
    with pytest.raises(Failure) as failed:
        engine.bind(feed).run()
    assert failed.value.advice == dict(CAUSES)["re-use buffer"]
    del model.graph.value_info[:]
    model.graph.output[0].type.tensor_type.shape.dim[0].dim_param = "twice"
    onnx.save(model, path)
    OnnxRuntime().load(str(path), {}).bind(feed).run()


def test_an_index_beyond_a_table(tmp_path: Path) -> None:
    """An index outside a table fails in the run with the table's range in the message; indices within it run."""
    node = helper.make_node("Gather", ["table", "x"], ["y"], name="rows")
    table = {"table": np.ones((4, 8), np.float32)}
    path = write(tmp_path / "m.onnx", [node], {"x": ["n"]}, {"y": ["n", 8]}, table, dtype=TensorProto.INT64)
    model = onnx.load(path)
    model.graph.output[0].type.tensor_type.elem_type = TensorProto.FLOAT
    onnx.save(model, path)
    engine = OnnxRuntime().load(str(path), {})
    with pytest.raises(Failure, match=r"range \[-4,3\]") as failed:
        engine.bind({"x": np.array([9])}).run()
    assert failed.value.advice == dict(CAUSES)["indices element out of data bounds"]
    engine.bind({"x": np.array([3])}).run()


def test_every_cause_has_a_file() -> None:
    """Each known cause has a file that provokes it, or shares another cause's message."""
    shared = {"under development", "NOT_IMPLEMENTED", "Exception during initialization"}
    assert {words for words, _ in CAUSES} - shared == {*CASES, *WHILE_RUNNING}
