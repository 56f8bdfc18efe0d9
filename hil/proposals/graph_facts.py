"""Facts of a graph that a signature does not state: tables that inputs look up, and nodes that INT8 usually harms."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Collection

    import onnx

PASSED_ON = frozenset({"Cast", "Identity", "Unsqueeze", "Squeeze", "Reshape", "Flatten", "Clip"})
"""Operators whose output has the values of their first input, for looking up rows of a table."""

WEIGHTED = frozenset({"Conv", "ConvTranspose", "MatMul", "Gemm"})
"""Operators that are quantized because of their weights."""

NAMED = 8
"""The most nodes that are proposed as exceptions from INT8."""


def table_rows(graph: onnx.GraphProto) -> dict[str, int]:
    """Return for each input whose values are indices of a constant table the number of its rows."""
    tables = {one.name: one.dims[0] for one in graph.initializer if one.dims}
    origin = {one.name: one.name for one in graph.input}
    rows: dict[str, int] = {}
    for node in graph.node:
        if node.op_type in PASSED_ON and node.input and node.input[0] in origin:
            origin.update(dict.fromkeys(node.output[:1], origin[node.input[0]]))
        if node.op_type != "Gather" or len(node.input) < 2:
            continue
        axis = next((one.i for one in node.attribute if one.name == "axis"), 0)
        table, indices = node.input[:2]
        if axis == 0 and table in tables and indices in origin:
            name = origin[indices]
            rows[name] = min(tables[table], rows.get(name, tables[table]))
    return rows


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
