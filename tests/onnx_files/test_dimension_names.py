"""``separate`` renames dimensions that share a name but not a size, and nothing else."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper

from hil.onnx_files.dimension_names import separate
from hil.onnx_files.external_data import addressed
from hil.onnx_files.reference import cpu_session
from hil.onnx_files.signature import TensorSpec, read_signature
from tests.models import write

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path


def _model(path: Path, first: Sequence[int | str], second: Sequence[int | str], out: Sequence[int | str]) -> Path:
    nodes = [helper.make_node("Relu", ["a"], ["ra"], name="ra"), helper.make_node("Relu", ["b"], ["y"], name="y")]
    return write(path, nodes, {"a": first, "b": second}, {"ra": first, "y": out})


def _names(values: Sequence[onnx.ValueInfoProto]) -> list[list[int | str]]:
    return [[size.dim_param or size.dim_value for size in value.type.tensor_type.shape.dim] for value in values]


@pytest.mark.parametrize("word", ["?", "unk__7", "-1", "None"])
def test_a_placeholder_that_occurs_twice(tmp_path: Path, word: str) -> None:
    """Each occurrence of a placeholder becomes a name of its own; other names stay."""
    path = _model(tmp_path / "m.onnx", ["n", word], ["n", word], ["n", word])
    proto = onnx.load(path)
    assert separate(proto, read_signature(path).inputs)
    assert _names(proto.graph.input) == [["n", "a[1]"], ["n", "b[1]"]]
    assert _names(proto.graph.output) == [["n", "ra[1]"], ["n", "y[1]"]]


def test_names_that_need_no_change(tmp_path: Path) -> None:
    """A file without repeated placeholders is used unchanged, even if its dimensions are declared with one name."""
    path = write(tmp_path / "m.onnx", [helper.make_node("Relu", ["a"], ["y"])], {"a": ["?", "n", "n"]}, {"y": [1]})
    inputs = read_signature(path).inputs
    assert addressed(path, tmp_path / "cache", inputs) == path
    assert addressed(path, tmp_path / "cache", [replace(inputs[0], shape=("b", "side", "side"))]) == path


def test_names_that_hil_toml_separates(tmp_path: Path) -> None:
    """A dimension gets the name that ``hil.toml`` declares; other dimensions of the old name become unknown."""
    path = _model(tmp_path / "m.onnx", ["batch", "n"], ["batch", "n"], ["batch", "n"])
    proto = onnx.load(path)
    assert separate(proto, [TensorSpec("a", "float32", ("batch", "n")), TensorSpec("b", "float32", ("batch", "b[1]"))])
    assert _names(proto.graph.input) == [["batch", "n"], ["batch", "b[1]"]]
    assert _names(proto.graph.output) == [["batch", "ra[1]"], ["batch", "y[1]"]]


def test_declarations_inside_of_the_graph() -> None:
    """Tensors of the graph, of subgraphs and of functions are renamed too; an initializer's name stays."""

    def value(name: str) -> onnx.ValueInfoProto:
        return helper.make_tensor_value_info(name, TensorProto.FLOAT, ["?"])

    body = helper.make_graph(
        [helper.make_node("Relu", ["x"], ["z"])], "body", [], [value("z")], value_info=[value("v")]
    )
    node = helper.make_node("If", ["c"], ["y"], then_branch=body, else_branch=body)
    graph = helper.make_graph([node], "g", [value("x")], [value("y")], value_info=[value("w")])
    function = helper.make_function("f", "F", ["p"], ["q"], [], [helper.make_opsetid("", 13)])
    function.value_info.append(value("q"))
    proto = helper.make_model(graph, functions=[function])
    assert separate(proto, [])
    inner = [attribute.g for attribute in proto.graph.node[0].attribute]
    assert [_names([*one.output, *one.value_info]) for one in inner] == [[["z[0]"], ["v[0]"]]] * 2
    assert _names(
        [*proto.graph.input, *proto.graph.output, *proto.graph.value_info, *proto.functions[0].value_info]
    ) == [
        ["x[0]"],
        ["y[0]"],
        ["w[0]"],
        ["q[0]"],
    ]


def test_onnx_runtime_runs_the_copy(tmp_path: Path) -> None:
    """ONNX Runtime runs the copy, but not the file with wrong equal names."""
    steps = [("Neg", ["a"], "t"), ("Concat", ["t", "t"], "u"), ("Neg", ["u"], "v"), ("Relu", ["v"], "w")]
    nodes = [helper.make_node(op, takes, [gives]) for op, takes, gives in (*steps, ("Neg", ["w"], "y"))]
    nodes[1].attribute.append(helper.make_attribute("axis", 0))
    path = write(tmp_path / "m.onnx", nodes, {"a": ["?"]}, {"y": ["?"]})
    proto = onnx.load(path)
    proto.graph.value_info.extend(helper.make_tensor_value_info(name, TensorProto.FLOAT, ["?"]) for name in "tuvw")
    path.write_bytes(proto.SerializeToString())
    feeds = {"a": np.array([-1, 2], np.float32)}
    with pytest.raises(Exception, match="re-use buffer"):
        cpu_session(path).run(None, feeds)
    copy = addressed(path, tmp_path / "cache", read_signature(path).inputs)
    [result] = cpu_session(copy).run(None, feeds)
    assert result.tolist() == [0, -2, 0, -2]
