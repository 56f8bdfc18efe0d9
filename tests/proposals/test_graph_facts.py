"""What the graph states about its inputs and its last layers."""

from __future__ import annotations

import numpy as np
import onnx
import onnx.parser
import pytest
from onnx import TensorProto, helper, numpy_helper, parser

from hil.proposals.graph_facts import (
    NAMED,
    class_maps,
    has_raw_boxes,
    integer_ranges,
    label_count,
    last_operators,
    last_weighted,
    of_operators,
)

LAST, BACK = "Transpose <perm = [0, 2, 3, 1]>", "Transpose <perm = [0, 3, 1, 2]>"


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
    assert integer_ranges(helper.make_graph(nodes, "g", [ids], [], tables)) == {"ids": (0, 6)}
    assert integer_ranges(helper.make_graph(nodes[3:], "g", [ids], [], tables)) == {}


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


def test_a_loop_makes_some_trips() -> None:
    """An input that is the number of a loop's trips is drawn so that the loop's outputs have elements."""
    graph = onnx.parser.parse_graph(
        """g (int64[1] steps, float[4] x) => (float[n, 4] y) {
            count = Squeeze (steps)
            last, y = Loop (count, , x) <body = b (int64 i, bool c, float[4] s) => (bool d, float[4] t, float[4] u) {
                d = Identity (c) t = Abs (s) u = Abs (s)
            }>
        }"""
    )
    assert integer_ranges(graph) == {"steps": (1, 8)}


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


@pytest.mark.parametrize(
    ("text", "classes"),
    [
        ("y = Softmax <axis = 1> (mapped)", True),
        ("y = Softmax <axis = -3> (mapped)", True),
        ("y = Softmax <axis = -1> (mapped)", False),
        ("y = Softmax (mapped)", False),
        ("one = ArgMax <axis = 1> (mapped) y = Cast <to = 1> (one)", True),
        ("y = Sigmoid (mapped)", False),
        ("y = Identity (mapped)", False),
        (f"last = {LAST} (mapped) s = Softmax <axis = 3> (last) y = {BACK} (s)", True),
    ],
)
def test_channels_are_classes_if_an_operator_reads_them_so(text: str, classes: bool) -> None:
    """An operator over the channels shows classes; values, heat maps and a softmax over a row of pixels do not."""
    head = "g (float[n, 3, 8, 8] x) => (float[n, 3, 8, 8] y) <float[3, 3, 1, 1] k = {0,0,0,0,0,0,0,0,0}>"
    model = parser.parse_model(f'<ir_version: 9, opset_import: ["": 17]> {head} {{ mapped = Conv (x, k) {text} }}')
    assert class_maps(model.graph) == ({"y"} if classes else set())


@pytest.mark.parametrize(
    ("boxes", "raw"),
    [
        ("boxes = Identity (reg)", True),
        ("boxes = Reshape (reg, rows)", True),
        ("moved = Add (reg, grid) boxes = Mul (moved, grid)", False),
        ("boxes = Exp (reg)", False),
    ],
)
def test_boxes_that_nothing_decodes_are_found(boxes: str, raw: bool) -> None:
    """The values of a convolution that are only moved are not boxes, whatever is done to the scores beside them."""
    head = "g (float[n, 3, 8, 8] x) => (float[n, 64, 6] y) <float[4, 3, 1, 1] k = {0,0,0,0,0,0,0,0,0,0,0,0}, "
    head += "float[1] grid = {1}, int64[4] rows = {0, 4, 8, 8}, int64[3] flat = {0, 6, 64}>"
    text = f"""{head} {{
        reg = Conv (x, k) {boxes}
        score = Conv (x, k) sure = Sigmoid (score) more = Mul (sure, grid)
        level = Concat <axis = 1> (boxes, more) rows_of = Reshape (level, flat)
        all = Concat <axis = 2> (rows_of, rows_of) y = Transpose <perm = [0, 2, 1]> (all)
    }}"""
    assert has_raw_boxes(parser.parse_model(f'<ir_version: 9, opset_import: ["": 17]> {text}').graph) == raw


@pytest.mark.parametrize(
    ("key", "value", "count"),
    [
        ("names", "{0: 'person', 1: 'car'}", 2),
        ("labels", "road, car, sky", 3),
        ("classes", '["a", "b"]', 2),
        ("names", "", 0),
        ("author", "a, b", 0),
        ("names", "{" * 5000, 1),
    ],
)
def test_the_classes_that_the_metadata_names_are_counted(key: str, value: str, count: int) -> None:
    """Names are counted in the notations that exporters write; no text raises an error."""
    model = onnx.ModelProto()
    model.metadata_props.add(key=key, value=value)
    assert label_count(model) == count
