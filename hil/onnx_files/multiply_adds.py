"""Count the multiply-adds of the convolutions and matrix products of an ONNX file, from its inferred shapes."""

from __future__ import annotations

from math import prod
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping

    import onnx

Shapes = dict[str, tuple[int, ...]]

LARGE = 4096
"""Bytes from which the values of a constant are dropped before shapes are inferred: shapes need only short lists."""


def infer(
    model: onnx.ModelProto,
    sizes: Mapping[str, int],
    batch: int,
    quantizers: Collection[str],
    shapes: Shapes,
) -> dict[str, str]:
    """Add the inferred shapes of a model's tensors to ``shapes``, and return their types by name; ``model`` is changed.

    ``sizes`` has the sizes of dynamic dimensions, by name or as ``input[axis]``; other first dimensions have ``batch``.
    ``quantizers`` are the operators that quantize and restore, whose outputs have the shape of their inputs.
    """
    import onnx.shape_inference

    _prepare(model, sizes, batch, quantizers)
    try:
        inferred = onnx.shape_inference.infer_shapes(model, data_prop=True)
    except (RuntimeError, ValueError, TypeError):  # shapes that contradict each other, or a model that is too large
        inferred = model
    types: dict[str, str] = {}
    for value in (*inferred.graph.input, *inferred.graph.value_info, *inferred.graph.output):
        kind = value.type.tensor_type
        name = str(onnx.TensorProto.DataType.Name(kind.elem_type))
        types[value.name] = {"FLOAT": "float32", "DOUBLE": "float64"}.get(name, name.lower())
        dims = [dim.dim_value for dim in kind.shape.dim]
        if kind.HasField("shape") and all(dims):
            shapes.setdefault(value.name, tuple(dims))
    return types


def _prepare(model: onnx.ModelProto, sizes: Mapping[str, int], batch: int, quantizers: Collection[str]) -> None:
    """Drop parts of the model that inference does not need, and give the inputs their sizes."""
    for tensor in model.graph.initializer:
        if len(tensor.raw_data) > LARGE:
            tensor.ClearField("raw_data")
    for node in model.graph.node:
        if node.op_type in quantizers:  # ONNX does not know ModelOpt's, nor Q and DQ of each type in older opsets
            first, output = node.input[0], node.output[0]
            node.Clear()
            node.op_type = "Identity"
            node.input.append(first)
            node.output.append(output)
    for value in model.graph.input:
        for axis, dim in enumerate(value.type.tensor_type.shape.dim):
            size = dim.dim_value or sizes.get(dim.dim_param) or sizes.get(f"{value.name}[{axis}]")
            size = size or (batch if axis == 0 else None)
            if size is not None and size > 0:
                dim.dim_value = size
    del model.graph.value_info[:]
    for value in model.graph.output:
        value.type.tensor_type.ClearField("shape")


def multiply_adds(node: onnx.NodeProto, shapes: Mapping[str, tuple[int, ...]]) -> int | None:
    """Return the multiply-adds of one call of a convolution or matrix product; ``None`` if a shape is unknown."""
    places = {"QLinearConv": (0, 3), "QLinearMatMul": (0, 3)}.get(node.op_type, (0, 1))
    read = [node.input[at] if at < len(node.input) else "" for at in places]
    first, second, given = (shapes.get(name) for name in (*read, node.output[0]))
    if node.op_type == "ConvTranspose":
        return None if first is None or second is None else prod(first) * prod(second[1:])
    if given is None:
        return None
    if node.op_type in {"Conv", "QLinearConv", "ConvInteger"}:
        return None if second is None else prod(given) * prod(second[1:])
    if first is None or not first:
        return None
    turned = any(one.name == "transA" and one.i for one in node.attribute)
    return prod(given) * (first[0] if turned else first[-1])
