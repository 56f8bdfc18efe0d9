"""How far a healthy engine of a precision may be off at one node: measured on the reference itself.

The reference's own nodes are run on operands rounded as that precision rounds them. What that changes is
what any engine of the precision would show there, cancellation included; several times as much is not.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import onnx
from onnx import numpy_helper

from hil.diagnose.tensor_error import FP16_MAX, error

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    import numpy.typing as npt

    Array = npt.NDArray[Any]

FLOORS: Mapping[str, float] = {"fp32": 5e-5, "tf32": 4e-3, "fp16": 4e-3, "bf16": 3e-2, "int8": 3e-2}
"""Below this no node is accused: sums of thousands of products differ by as much, FP32 ones by Winograd's algorithm."""

ROOM: Mapping[str, float] = {"fp32": 30.0, "tf32": 6.0, "fp16": 6.0, "bf16": 6.0, "int8": 5.0}
"""How many times the rounding of the operands alone may be seen: accumulators and kernels differ too."""

CLIPPING, UNUSED, INT8_STEPS = 0.25, 0.15, 127
"""What clipping may cost, the share of a range that must be used, and the steps of a range on each side."""

NOISE = 2.0**-22
"""Relative change of the operands that stands for FP32's rounding: other orders of adding up, four ulp."""

MANTISSA: Mapping[str, int] = {"tf32": 10, "bf16": 7}
SHRINKS = (1.0, 0.9, 0.8, 0.7, 0.6, 0.5, 0.4, 0.3, 0.2, 0.1, 0.05)
WEIGHT_AXIS: Mapping[str, int] = {"Conv": 0, "ConvTranspose": 1, "MatMul": -1, "Gemm": -1}


def bound(measured: float, precision: str) -> float:
    """Most that a healthy node may show, from what rounding its operands showed."""
    return max(FLOORS[precision], ROOM[precision] * measured)


def range_bound(best: float, top: float, scale: float | None) -> float:
    """Most that a healthy INT8 range may cost its tensor, from what the ``best`` range of these values costs.

    ``top`` is the largest magnitude, ``scale`` the range's step. Calibration clips on purpose, and draws ranges from
    other data: a quarter of the RMS in a channel is still that. A range of which the values use less than a seventh is
    not, and is held to what its steps should cost.
    """
    if scale is not None and 0 < top < UNUSED * INT8_STEPS * scale:
        return max(FLOORS["int8"], 3 * best)
    return max(CLIPPING, ROOM["int8"] * best)


def rounded(array: Array, precision: str) -> Array:
    """``array`` as operands of ``precision`` are; float arrays alone, others come back as they are."""
    if array.dtype.kind != "f" or array.dtype.itemsize < np.dtype(np.float32).itemsize:
        return array
    if precision == "fp16":
        return np.asarray(np.clip(array, -FP16_MAX, FP16_MAX), np.float16).astype(array.dtype)
    if precision in MANTISSA:
        return np.asarray(_shortened(np.asarray(array, np.float32), MANTISSA[precision]), array.dtype)
    if precision == "fp32":
        noise = np.random.default_rng(array.size).uniform(-NOISE, NOISE, array.shape)
        return np.asarray(array * (1 + noise), array.dtype)
    return array


def _shortened(array: npt.NDArray[np.float32], bits: int) -> npt.NDArray[np.float32]:
    """``array`` with ``bits`` bits of mantissa, rounded to nearest."""
    drop = 23 - bits
    raw = array.view(np.uint32).astype(np.uint64)
    kept = ((raw + (1 << (drop - 1))) >> drop << drop).astype(np.uint32).view(np.float32)
    return np.where(np.isfinite(array), kept, array).astype(np.float32)


def quantized_weight(array: Array, axis: int) -> Array:
    """``array`` as symmetric INT8 with a scale for each index along ``axis``."""
    others = tuple(one for one in range(array.ndim) if one != axis % array.ndim)
    scale = np.abs(array).max(axis=others, keepdims=True) / 127
    safe = np.where(scale > 0, scale, 1)
    return (np.clip(np.round(array / safe), -127, 127) * safe).astype(array.dtype)


def quantization(array: Array) -> float:
    """The error that the best single INT8 scale leaves of ``array``: no calibration does better."""
    top = float(np.abs(array).max()) if array.size else 0.0
    if not top:
        return 0.0
    errors = []
    for shrink in SHRINKS:
        step = top * shrink / 127
        errors.append(error(array, (np.clip(np.round(array / step), -128, 127) * step).astype(array.dtype)))
    return min(errors)


def round_weights(model: onnx.ModelProto, precision: str) -> None:
    """Rounds the model's constants in place; for int8 only the weights of convolutions and matrix products."""
    if precision == "int8":
        _quantize_weights(model)
        return
    for tensor in model.graph.initializer:
        if tensor.data_type == onnx.TensorProto.FLOAT:
            _replace(tensor, rounded(numpy_helper.to_array(tensor), precision))


def _quantize_weights(model: onnx.ModelProto) -> None:
    tensors = {tensor.name: tensor for tensor in model.graph.initializer}
    for node in model.graph.node:
        if node.op_type not in WEIGHT_AXIS:
            continue
        for name in _weights(node.input[:2], tensors):
            array = numpy_helper.to_array(tensors[name])
            axis = 0 if _turned(node) else WEIGHT_AXIS[node.op_type]
            if array.ndim > 1 and array.dtype.kind == "f":
                _replace(tensors[name], quantized_weight(array, axis))


def _weights(names: Iterable[str], tensors: Mapping[str, onnx.TensorProto]) -> list[str]:
    return [name for name in names if name in tensors]


def _turned(node: onnx.NodeProto) -> bool:
    return any(attribute.name == "transB" and attribute.i for attribute in node.attribute)


def _replace(tensor: onnx.TensorProto, array: Array) -> None:
    tensor.CopyFrom(numpy_helper.from_array(np.ascontiguousarray(array), tensor.name))
