"""Q/DQ nodes that TensorRT refuses or misreads, and places without them that keep layers from running in INT8.

Sources: onnx-tensorrt's ``QuantDequantLinearHelper``, and NVIDIA's guide to quantized types.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from onnx import TensorProto

from hil.lint.model_findings import Finding, Level, nodes
from hil.lint.model_graph import integer

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    import onnx

    from hil.lint.model_graph import Graph

Q, DQ = "QuantizeLinear", "DequantizeLinear"
Type = TensorProto.DataType
TYPES = frozenset({"INT8", "FLOAT8E4M3FN", "INT4", "FLOAT4E2M1"})
"""Types to which TensorRT quantizes. Source: the operator lists of onnx-tensorrt, 10.14."""

SYMMETRIC = "quantize again with symmetric int8: ActivationSymmetric and WeightSymmetric of onnxruntime.quantization"
PER_CHANNEL = "quantize again by channel: onnxruntime.quantization with per_channel=True"
PER_TENSOR = "quantize activations by tensor: one scale for each, as onnxruntime.quantization does"
BOTH = "quantize weights and activations of the layer: AddQDQPairToWeight of onnxruntime.quantization"

MOVING = frozenset({Q, DQ, "Transpose", "Reshape", "Identity", "Cast"})
"""Operators behind which weights are still weights."""

PASSING = frozenset({"Relu", "Clip", "BatchNormalization", "Identity", "Transpose", "Reshape"})
"""Operators that TensorRT fuses with a convolution before a sum, or that move its values."""


def quantization_findings(graph: Graph) -> Iterator[Finding]:
    """Yield the findings on the Q/DQ nodes of the graph; none without such nodes."""
    pairs = [node for node in graph.nodes if node.op_type in {Q, DQ} and len(node.input) >= 2 and node.output]
    if not pairs:
        return
    rules: tuple[tuple[str, Callable[[Graph, onnx.NodeProto], str], str, Level], ...] = (
        ("zero-point", _asymmetric, SYMMETRIC, "bad"),
        ("quantized-type", _untyped, SYMMETRIC, "bad"),
        ("scale", _wrong_scale, "quantize again: each scale is a positive constant", "bad"),
        ("scale", _computed_scale, "quantize again with constant scales", "warn"),
        ("quantized-axis", _wrong_count, PER_CHANNEL, "bad"),
        ("quantized-axis", _wrong_axis, PER_CHANNEL, "warn"),
        ("quantized-axis", _by_channel, PER_TENSOR, "warn"),
    )
    for rule, reason, fix, level in rules:
        concerned: dict[str, list[onnx.NodeProto]] = {}
        for node in pairs:
            why = reason(graph, node)
            if why:
                concerned.setdefault(why, []).append(node)
        yield from (Finding(rule, nodes(those), why, fix, level) for why, those in concerned.items())
    yield from _unpaired(graph)
    yield from _residuals(graph)


def _asymmetric(graph: Graph, node: onnx.NodeProto) -> str:
    if len(node.input) < 3 or not node.input[2]:
        return ""
    zero = graph.values(node.input[2])
    if zero is None:
        known = node.input[2] in graph.constants
        return "" if known else "its zero point is computed, and TensorRT takes zero points of 0 only"
    return (
        "its zero point is not 0, and TensorRT takes symmetric quantization only" if np.any(zero.astype(float)) else ""
    )


def quantized_to(graph: Graph, node: onnx.NodeProto) -> int:
    """Return the type (``TensorProto.DataType``) to which a Q or from which a DQ node converts; 0 if unknown."""
    number = integer(node, "output_dtype", 0) if node.op_type == Q else 0
    if not number and len(node.input) >= 3 and node.input[2]:
        tensor = graph.constants.get(node.input[2])
        number = tensor.data_type if tensor is not None else graph.types.get(node.input[2], 0)
    elif not number and node.op_type == Q:
        number = TensorProto.UINT8  # what ONNX defines for a missing zero point
    return number or (graph.types.get(node.input[0], 0) if node.input else 0)


def _untyped(graph: Graph, node: onnx.NodeProto) -> str:
    number = quantized_to(graph, node)
    kind = Type.Name(number) if number in Type.values() else ""
    if not kind or kind in TYPES:
        return ""
    if kind == "INT32" and node.op_type == DQ:
        return "it holds a bias of int32, and TensorRT takes the bias of a quantized layer as float"
    return f"it is quantized to {kind.lower()}, and TensorRT computes in int8, int4, float8e4m3fn and float4e2m1 only"


def _wrong_scale(graph: Graph, node: onnx.NodeProto) -> str:
    scale = graph.values(node.input[1])
    return "its scale is not positive" if scale is not None and not np.all(scale.astype(float) > 0) else ""


def _computed_scale(graph: Graph, node: onnx.NodeProto) -> str:
    # Two-level scales (NVFP4) come out of a DQ node.
    maker = graph.makers.get(node.input[1])
    if node.input[1] in graph.constants or (maker is not None and maker.op_type == DQ):
        return ""
    return "its scale is computed while the model runs, so the layers around it are not fused"


def _scales(graph: Graph, node: onnx.NodeProto) -> tuple[int, ...] | None:
    """Return the dimensions of the scale; ``None`` if they are unknown."""
    tensor = graph.constants.get(node.input[1])
    return None if tensor is None else tuple(tensor.dims)


def _is_weight(graph: Graph, name: str) -> bool:
    """Return whether a tensor is constant, directly or behind Q and DQ nodes or a change of layout."""
    maker = graph.before(name, MOVING)
    return name in graph.constants or (maker is not None and maker.input[0] in graph.constants)


def _axis(graph: Graph, node: onnx.NodeProto) -> tuple[int, int, int] | None:
    """Return the axis, the number of scales along it and the rank of weights with several scales."""
    scales, rank = _scales(graph, node), graph.rank(node.input[0])
    if scales is None or len(scales) != 1 or scales[0] == 1 or rank is None or not _is_weight(graph, node.input[0]):
        return None
    axis = integer(node, "axis", 1)
    return axis + (rank if axis < 0 else 0), scales[0], rank


def _wrong_count(graph: Graph, node: onnx.NodeProto) -> str:
    """Return why the number of scales does not fit the weights; empty if it does."""
    by_channel, name = _axis(graph, node), node.input[0]
    if by_channel is None:
        return ""
    axis, count, rank = by_channel
    shape = tuple(graph.constants[name].dims) if name in graph.constants else graph.shapes[name]
    if 0 <= axis < rank and shape[axis] in {None, count}:
        return ""
    return f"it has {count} scales for axis {axis} of a tensor of {list(shape)}"


def _wrong_axis(graph: Graph, node: onnx.NodeProto) -> str:
    """Return why the axis of the scales does not fit the layer that reads the weights; empty if it does."""
    by_channel = _axis(graph, node)
    if by_channel is None or _wrong_count(graph, node):
        return ""
    axis, _, rank = by_channel
    for reader, number in graph.readers.get(node.output[0], []) if node.op_type == DQ else ():
        right = _channel_axis(reader, number, rank)
        if right is not None and axis != right:
            what = f"its scales are along axis {axis}, and {reader.op_type} has its output channels on axis {right}"
            return f"{what}, so the layer is not fused with it"
    return ""


def _channel_axis(reader: onnx.NodeProto, number: int, rank: int) -> int | None:
    """Return the axis of the output channels of the weights that ``reader`` reads as input ``number``.

    Return ``None`` for any input but the second, and for operators without weights.
    """
    if number != 1:
        return None
    if reader.op_type == "Gemm":
        return 0 if integer(reader, "transB", 0) else 1
    return {"Conv": 0, "ConvTranspose": 1, "MatMul": rank - 1}.get(reader.op_type)


def _by_channel(graph: Graph, node: onnx.NodeProto) -> str:
    scales = _scales(graph, node)
    blocked = integer(node, "block_size", 0)
    if scales is None or int(np.prod(scales)) == 1 or blocked or _is_weight(graph, node.input[0]):
        return ""
    return f"it quantizes an activation with {int(np.prod(scales))} scales, and a layer is fused with one scale there"


def _unpaired(graph: Graph) -> Iterator[Finding]:
    """Yield the findings on layers of which only one operand has Q/DQ nodes, so that they run in floating point."""
    bare = [
        node
        for node in graph.nodes
        if node.op_type in {"Conv", "ConvTranspose", "MatMul", "Gemm"}
        and len(node.input) >= 2
        and _dequantized(graph, node.input[0])
        and node.input[1] in graph.constants
    ]
    if bare:
        what = "its input has Q/DQ nodes and its weights have none, so it runs in floating point"
        yield Finding("unpaired", nodes(bare), what, BOTH, "warn")


def _dequantized(graph: Graph, name: str) -> bool:
    maker = graph.makers.get(name)
    return maker is not None and maker.op_type == DQ


def _residuals(graph: Graph) -> Iterator[Finding]:
    """Yield the finding on sums of a quantized convolution's output and a tensor that is not dequantized."""
    sums = [
        node
        for node in graph.nodes
        if node.op_type == "Add"
        and len(node.input) == 2
        and not any(name in graph.constants or _dequantized(graph, name) for name in node.input)
        and any(_quantized_convolution(graph, name) for name in node.input)
    ]
    if sums:
        what = "it adds a residual branch without Q/DQ nodes, so the convolution before it is not fused with the sum"
        fix = "put a QuantizeLinear and a DequantizeLinear on the residual input of the sum"
        yield Finding("residual", nodes(sums), what, fix, "warn")


def _quantized_convolution(graph: Graph, name: str) -> bool:
    passed = graph.before(name, PASSING)
    maker = graph.makers.get(name if passed is None else passed.input[0])
    if maker is None or maker.op_type not in {"Conv", "ConvTranspose"} or not maker.input:
        return False
    return _dequantized(graph, maker.input[0])
