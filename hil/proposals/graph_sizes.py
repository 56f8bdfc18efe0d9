"""Sizes of dynamic dimensions that the weights of a graph require."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping

    import onnx

SAME = frozenset({"Cast", "Identity", "Neg", "Abs", "Exp", "Log", "Sqrt", "Relu", "Sigmoid", "Tanh", "Clip"})
"""Operators of one tensor that keep each axis."""

LAST = frozenset({"Unsqueeze", "Slice"})
"""Operators that usually keep the last axis."""

PAIRED = frozenset({"Add", "Sub", "Mul", "Div"})
"""Operators of two tensors that keep the last axis of one if the other is a vector of this size."""

ROWS = {"MatMul": -2, "LSTM": 2, "GRU": 2, "RNN": 2, "LayerNormalization": -1, "Conv": 1}
"""The axis of the weights that has the size of the input's last axis; for ``Conv``, of its axis 1."""


def weight_sizes(graph: onnx.GraphProto) -> dict[str, dict[int, int]]:
    """Return for each input the sizes of its axes, counted from the end (axis 1 of a convolution from the start).

    They are found where an input reaches weights only through operators that keep its axes. A size of 1, which may
    stand for any size, is left out.
    """
    weights = {one.name: tuple(one.dims) for one in graph.initializer}
    origin = {one.name: one.name for one in graph.input if one.name not in weights}
    found: dict[str, dict[int, int]] = {}
    moved: set[str] = set()
    for node in graph.node:
        _constant(node, weights)
        names = [name for name in node.input if name in origin]
        if len(names) != 1:
            continue
        dims = next((weights[name] for name in node.input if name in weights), ())
        paired = node.op_type in PAIRED and all(one in weights for one in {*node.input} - {*names})
        if node.op_type in SAME | LAST or paired:
            origin[node.output[0]] = origin[names[0]]
        if node.op_type in LAST or names[0] in moved:
            moved.add(node.output[0])
        axis, size = _required(node, dims, first=node.input[0] == names[0])
        if size > 1 and (axis == -1 or names[0] not in moved):
            found.setdefault(origin[names[0]], {}).setdefault(axis, size)
    return found


def _constant(node: onnx.NodeProto, weights: dict[str, tuple[int, ...]]) -> None:
    """Add the shape of the output of a constant, or of transposed weights, to ``weights``."""
    if node.op_type == "Constant":
        weights.update((node.output[0], tuple(one.t.dims)) for one in node.attribute if one.name == "value")
    elif node.op_type == "Transpose" and node.input[0] in weights:
        dims = weights[node.input[0]]
        order = next((list(one.ints) for one in node.attribute if one.name == "perm"), range(len(dims))[::-1])
        weights[node.output[0]] = tuple(dims[axis] for axis in order)
    elif node.op_type in {"Cast", "DequantizeLinear", "Identity"} and node.input[0] in weights:
        weights[node.output[0]] = weights[node.input[0]]


def _required(node: onnx.NodeProto, dims: tuple[int, ...], *, first: bool) -> tuple[int, int]:
    """Return an axis of the node's one tensor, and the size that weights of ``dims`` require; 0 if they require none.

    ``first`` is whether the tensor is the node's first input.
    """
    if node.op_type in PAIRED and len(dims) == 1:
        return -1, dims[0]
    attributes: Mapping[str, int] = {one.name: one.i for one in node.attribute}
    if node.op_type == "Gemm" and first and len(dims) == 2 and not attributes.get("transA"):
        return -1, dims[1 if attributes.get("transB") else 0]
    place = ROWS.get(node.op_type)
    if place is None or not first or len(dims) < 3 - (node.op_type in {"MatMul", "LayerNormalization"}) * 2:
        return 0, 0
    if node.op_type == "MatMul" and len(dims) < 2:
        return -1, dims[0]
    return (1, dims[1] * attributes.get("group", 1)) if node.op_type == "Conv" else (-1, dims[place])
