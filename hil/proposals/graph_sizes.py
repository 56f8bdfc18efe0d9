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

RECURRENT = frozenset({"LSTM", "GRU", "RNN"})


def weight_sizes(graph: onnx.GraphProto) -> dict[str, dict[int, int]]:
    """Return for each input the sizes of its axes, counted from the end (axis 1 of a convolution from the start).

    A size is known if the input reaches weights only through operators that keep its axes. A size of 1, which may stand
    for any size, is left out.
    """
    weights = {one.name: tuple(one.dims) for one in graph.initializer}
    origin = {one.name: one.name for one in graph.input if one.name not in weights}
    found: dict[str, dict[int, int]] = {}
    moved: set[str] = set()
    for node in graph.node:
        _constant(node, weights)
        names = [name for name in node.input if name in origin]
        fixed = [weights[name] for name in node.input if name in weights]
        if not names:
            continue
        paired = node.op_type in PAIRED and len(names) == len(fixed) == 1
        if node.op_type in SAME | LAST or paired:
            origin[node.output[0]] = origin[names[0]]
        if node.op_type in LAST or names[0] in moved:
            moved.add(node.output[0])
        axis, size = 0, 0
        if paired and len(fixed[0]) == 1 and names[0] not in moved:
            axis, size = -1, fixed[0][0]
        elif node.input[0] in origin and fixed:
            axis, size = _required(node, fixed[0])
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


def _required(node: onnx.NodeProto, dims: tuple[int, ...]) -> tuple[int, int]:
    """Return an axis of the node's first input, and the size that weights of the shape ``dims`` require there.

    The size is 0 if they require none.
    """
    attributes: Mapping[str, int] = {one.name: one.i for one in node.attribute}
    if node.op_type == "Gemm" and len(dims) == 2 and not attributes.get("transA"):
        return -1, dims[1 if attributes.get("transB") else 0]
    if node.op_type == "Conv" and len(dims) > 2:
        return 1, dims[1] * attributes.get("group", 1)
    if node.op_type == "MatMul" and dims:
        return -1, dims[max(0, len(dims) - 2)]
    if node.op_type in RECURRENT and len(dims) == 3:
        return -1, dims[2]
    return -1, dims[-1] if node.op_type == "LayerNormalization" and dims else 0
