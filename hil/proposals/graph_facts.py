"""Facts of a graph that a signature does not state: tables that inputs look up, and nodes that INT8 usually harms."""

from __future__ import annotations

import ast
import re
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping

    import onnx

PASSED_ON = frozenset({"Cast", "Identity", "Unsqueeze", "Squeeze", "Reshape", "Flatten", "Clip"})
"""Operators that pass on the values of their first input, so that an index of a table stays an index behind them."""

LAST = frozenset({*PASSED_ON, "Transpose", "Slice", "QuantizeLinear", "DequantizeLinear"}) - {"Clip"}
"""Operators that move or retype values. The operator that made the values of an output is searched before them."""

SCORES = frozenset({"Sigmoid", "HardSigmoid", "Softmax", "LogSoftmax", "ArgMax"})
VALUES = frozenset({"Tanh", "Softplus", "Clip", "Relu", "Exp"})
NORMS = frozenset({"LpNormalization"})
MAPPED = frozenset({"Add", "Sub", "Mul", "DepthToSpace"})
"""``SCORES``, ``VALUES``, ``NORMS`` and ``MAPPED`` are the last operators of networks that return scores, other values,
normalized vectors, and images made from images."""

CLASSES = frozenset({"Softmax", "LogSoftmax", "ArgMax"})
"""Operators that show by their axis which axis has the classes."""

JOINED = frozenset({*LAST, "Concat", "Sigmoid"})
"""Operators between the last convolutions of a detector and its output, if boxes are not decoded."""

LABELS = ("names", "labels", "classes", "class_names", "id2label")
"""Keys of the metadata whose value has the names of the classes."""

SCALED = frozenset({*PASSED_ON, "Expand", "Max", "Add"})
"""Operators between a norm and the division by it."""

WEIGHTED = frozenset({"Conv", "ConvTranspose", "MatMul", "Gemm"})
"""Operators that are quantized because of their weights."""

TRIPS = 8
"""The most trips of a loop in a trial run."""

NAMED = 8
"""The most nodes that are proposed as exceptions from INT8."""


def integer_ranges(graph: onnx.GraphProto) -> dict[str, tuple[int, int]]:
    """Return the range of the integers that an input takes, by the input's name, as far as the graph shows it.

    It is the rows of the constant table that the input indexes (of several tables, the smallest), or 1 to ``TRIPS`` for
    the number of a loop's trips: with no trip, its outputs would be empty.
    """
    tables = {one.name: one.dims[0] for one in graph.initializer if one.dims}
    origin = {one.name: one.name for one in graph.input}
    ranges: dict[str, tuple[int, int]] = {}
    for node in graph.node:
        if node.op_type in PASSED_ON and node.input and node.input[0] in origin:
            origin.update(dict.fromkeys(node.output[:1], origin[node.input[0]]))
        if node.op_type == "Loop" and node.input[0] in origin:
            ranges.setdefault(origin[node.input[0]], (1, TRIPS))
        if node.op_type != "Gather" or len(node.input) < 2:
            continue
        axis = next((one.i for one in node.attribute if one.name == "axis"), 0)
        table, indices = node.input[:2]
        if axis == 0 and table in tables and indices in origin:
            name = origin[indices]
            ranges[name] = min((0, tables[table] - 1), ranges.get(name, (0, tables[table] - 1)))
    return ranges


def last_operators(graph: onnx.GraphProto) -> dict[str, str]:
    """Return the operator that made the values of each output, by name; empty if the output is an input or a constant.

    A division by the L2 norm is ``LpNormalization``.
    """
    makers = {output: node for node in graph.node for output in node.output}
    found = {}
    for output in graph.output:
        node = _maker(makers, output.name, LAST)
        name = "" if node is None else node.op_type
        norm = _maker(makers, node.input[1], SCALED) if node is not None and name == "Div" else None
        found[output.name] = "LpNormalization" if norm is not None and norm.op_type == "ReduceL2" else name
    return found


def class_maps(graph: onnx.GraphProto) -> frozenset[str]:
    """Return the outputs [samples, channels, height, width] whose channels the graph shows to be classes.

    These are made by an operator of ``CLASSES`` over the channels.
    """
    makers = {output: node for node in graph.node for output in node.output}
    found = set()
    for output in graph.output:
        node, last = _maker(makers, output.name, LAST), _maker(makers, output.name, LAST - {"Transpose"})
        if node is None or node.op_type not in CLASSES:
            continue
        axis = next((one.i for one in node.attribute if one.name == "axis"), None)
        # Older exporters transpose, so that the channels are the last axis, and back.
        if axis in ({1, -3} if last is node else {3, -1, None}):
            found.add(output.name)
    return frozenset(found)


def has_raw_boxes(graph: onnx.GraphProto) -> bool:
    """Return whether the first columns of the first output are values of a convolution, so that no box is decoded."""
    makers = {output: node for node in graph.node for output in node.output}
    node = _maker(makers, graph.output[0].name, JOINED) if graph.output else None
    return node is not None and node.op_type == "Conv"


def label_count(model: onnx.ModelProto) -> int:
    """Return the number of classes that the metadata names; 0 if it names none."""
    values = {one.key: one.value for one in model.metadata_props}
    text = next((values[key] for key in LABELS if key in values), "")
    try:
        named = ast.literal_eval(text)
    except (ValueError, SyntaxError, MemoryError, RecursionError):
        named = [one for one in re.split(r"[,\n]", text) if one.strip()]
    return len(named) if isinstance(named, (dict, list, tuple)) else 0


def _maker(makers: Mapping[str, onnx.NodeProto], tensor: str, passed: Collection[str]) -> onnx.NodeProto | None:
    """Return the node that makes ``tensor``, going back over nodes with operators in ``passed``.

    Return ``None`` if there is no such node.
    """
    node = makers.get(tensor)
    for _ in makers:
        if node is None or node.op_type not in passed or not node.input:
            break
        node = makers.get(node.input[0])
    return node


def last_weighted(graph: onnx.GraphProto) -> tuple[str, ...]:
    """Return the names of the last nodes with weights before each output, in the graph's order, at most ``NAMED``."""
    makers = {output: node for node in graph.node for output in node.output}
    names, seen = set(), set()
    waiting = [one.name for one in graph.output]
    while waiting:
        tensor = waiting.pop()
        if tensor in seen or tensor not in makers:
            continue
        seen.add(tensor)
        node = makers[tensor]
        if node.op_type in WEIGHTED:
            names.add(node.name)
        else:
            waiting += node.input
    return _in_order(graph, names)


def of_operators(graph: onnx.GraphProto, wanted: Collection[str]) -> tuple[str, ...]:
    """Return the names of the nodes with these operators, in the graph's order, at most ``NAMED``."""
    return _in_order(graph, {node.name for node in graph.node if node.op_type in wanted})


def _in_order(graph: onnx.GraphProto, names: Collection[str]) -> tuple[str, ...]:
    return tuple(node.name for node in graph.node if node.name and node.name in names)[:NAMED]
