"""What the graph states about its inputs and its last layers."""

from __future__ import annotations

import numpy as np
import pytest
from onnx import TensorProto, helper, numpy_helper

from hil.proposals.graph_facts import NAMED, last_operators, last_weighted, of_operators, table_rows


def test_an_input_that_is_looked_up_has_rows() -> None:
    """An input that selects rows of tables has the number of rows of the smallest table."""
    ids = helper.make_tensor_value_info("ids", TensorProto.INT64, ["b", "n"])
    tables = [numpy_helper.from_array(np.zeros((rows, 4), np.float32), f"t{rows}") for rows in (10, 7)]
    nodes = [
        helper.make_node("Cast", ["ids"], ["cast"], to=TensorProto.INT32),
        helper.make_node("Gather", ["t10", "cast"], ["a"]),
        helper.make_node("Gather", ["t7", "ids"], ["b"]),
        helper.make_node("Gather", ["t7", "ids"], ["c"], axis=1),
        helper.make_node("Gather", ["a", "ids"], ["d"]),
    ]
    assert table_rows(helper.make_graph(nodes, "g", [ids], [], tables)) == {"ids": 7}
    assert table_rows(helper.make_graph(nodes[3:], "g", [ids], [], tables)) == {}


def test_the_last_layers_of_each_output_are_found() -> None:
    """The search passes operators without weights, ends at a cycle, and names at most a few nodes."""
    chain = [helper.make_node("MatMul", [f"x{n}", "w"], [f"y{n}"], name=f"m{n}") for n in range(20)]
    join = helper.make_node("Concat", [f"y{n}" for n in range(20)], ["all"], name="join", axis=0)
    graph = helper.make_graph([*chain, join], "g", [], [helper.make_tensor_value_info("all", 1, None)])
    assert last_weighted(graph) == tuple(f"m{n}" for n in range(NAMED))
    assert of_operators(graph, {"Concat"}) == ("join",)
    looped = helper.make_graph(
        [helper.make_node("Add", ["z", "z"], ["z"])], "g", [], [helper.make_tensor_value_info("z", 1, None)]
    )
    assert last_weighted(looped) == ()


@pytest.mark.parametrize(
    ("nodes", "last"),
    [
        ([("Sigmoid", "x", "a"), ("Transpose", "a", "y")], "Sigmoid"),
        ([("ReduceL2", "x", "n"), ("Clip", "n", "c"), ("Div", "x c", "y")], "LpNormalization"),
        ([("Exp", "x", "e"), ("ReduceSum", "e", "n"), ("Div", "e n", "y")], "Div"),
        ([("Identity", "x", "y")], ""),
    ],
)
def test_the_last_operator_made_the_values(nodes: list[tuple[str, str, str]], last: str) -> None:
    """The last operator is the one that computed the values, not one that only moved them."""
    made = [helper.make_node(operator, inputs.split(), [output]) for operator, inputs, output in nodes]
    ports = [helper.make_tensor_value_info(name, TensorProto.FLOAT, ["n", 8]) for name in "xy"]
    assert last_operators(helper.make_graph(made, "g", ports[:1], ports[1:])) == {"y": last}
