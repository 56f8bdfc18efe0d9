"""Derives from the reference the largest error that a correct engine of a precision may show at one node."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import numpy as np
import onnx
from onnx import numpy_helper

from hil.diagnose.tensor_error import FP16_MAX, mean_squares, relative_error
from hil.dtypes import is_float

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    import numpy.typing as npt

    Array = npt.NDArray[Any]

FLOORS: Mapping[str, float] = {
    "fp32": 5e-5,
    "tf32": 4e-3,
    "fp16": 4e-3,
    "bf16": 3e-2,
    "int8": 3e-2,
    "fp8": 0.1,
    "fp4": 0.4,
    "int4": 0.3,
}
"""Relative errors that are normal at any node of a correct engine. Sums of thousands of products have such errors, and
FP32 convolutions by Winograd's algorithm do too. The values of fp8, fp4 and int4 are about four times the error of
rounding normally distributed values to the type; they were not measured on engines."""

ROOM: Mapping[str, float] = {
    "fp32": 30.0,
    "tf32": 6.0,
    "fp16": 6.0,
    "bf16": 6.0,
    "int8": 5.0,
    "fp8": 6.0,
    "fp4": 6.0,
    "int4": 6.0,
}
"""Factor on the error from rounding the operands; it allows for different accumulators and kernels."""

CLIPPING, UNUSED, INT8_STEPS = 0.25, 0.15, 127
"""Relative error allowed for clipping; share of an INT8 range below which it counts as too wide; steps on each side."""

NOISE = 2.0**-22
"""Relative change of the operands, about four ulp, that stands for FP32 sums in another order."""

MANTISSA: Mapping[str, int] = {"tf32": 10, "bf16": 7}
SHRINKS = (1.0, 0.9, 0.8, 0.7, 0.6, 0.5, 0.4, 0.3, 0.2, 0.1, 0.05)
WEIGHT_AXIS: Mapping[str, int] = {"Conv": 0, "ConvTranspose": 1, "MatMul": -1, "Gemm": -1}


def bound(measured: float, precision: str) -> float:
    """Return the largest relative error of a correct node; ``measured`` is its error if only operands are rounded."""
    return max(FLOORS[precision], ROOM[precision] * measured)


def range_bound(best: float, top: float, scale: float | None) -> float:
    """Return the largest relative error that a sound INT8 range may cause in its tensor.

    ``best`` is the error of the best range for the tensor's values, ``top`` their largest magnitude, ``scale`` the step
    of the engine's range (``None``: not constant).
    """
    # Values that use little of the range are not clipped. Otherwise, calibration clips on purpose and uses other data.
    if scale is not None and 0 < top < UNUSED * INT8_STEPS * scale:
        return max(FLOORS["int8"], 3 * best)
    return max(CLIPPING, ROOM["int8"] * best)


def rounded(array: Array, precision: str) -> Array:
    """Return ``array`` with the rounding errors that an operand has in ``precision``.

    For fp32, these are random noise; int8, fp8, fp4 and int4 change nothing. Only FP32 and FP64 arrays are changed.
    """
    if not is_float(array.dtype) or array.dtype.itemsize < np.dtype(np.float32).itemsize:
        return array
    if precision == "fp16":
        return np.asarray(np.clip(array, -FP16_MAX, FP16_MAX), np.float16).astype(array.dtype)
    if precision in MANTISSA:
        return np.asarray(_with_mantissa(np.asarray(array, np.float32), MANTISSA[precision]), array.dtype)
    if precision == "fp32":
        noise = np.random.default_rng(array.size).random(array.shape, np.float32).astype(np.float64)
        return np.asarray(array * (1 + NOISE * (2 * noise - 1)), array.dtype)
    return array


def _with_mantissa(array: npt.NDArray[np.float32], bits: int) -> npt.NDArray[np.float32]:
    """Return ``array`` rounded to nearest with ``bits`` bits of mantissa."""
    drop = 23 - bits
    raw = array.view(np.uint32).astype(np.uint64)
    short = ((raw + (1 << (drop - 1))) >> drop << drop).astype(np.uint32).view(np.float32)
    return np.where(np.isfinite(array), short, array).astype(np.float32)


def quantized_weight(array: Array, axis: int) -> Array:
    """Return ``array`` after symmetric INT8 quantization with one scale for each index along ``axis``."""
    others = tuple(other for other in range(array.ndim) if other != axis % array.ndim)
    scale = np.abs(array).max(axis=others, keepdims=True) / 127
    safe = np.where(scale > 0, scale, 1)
    return (np.clip(np.round(array / safe), -127, 127) * safe).astype(array.dtype)


def quantized(array: Array) -> Array:
    """Return ``array`` after symmetric INT8 quantization with one scale for all its finite elements.

    Other elements, and arrays that are not of a float type, are unchanged.
    """
    if not is_float(array.dtype) or not array.size:
        return array
    finite = np.isfinite(array)
    flat = np.where(finite, array, 0).reshape(1, -1)
    return np.where(finite, quantized_weight(flat, 0).reshape(array.shape), array)


def quantization(array: Array) -> float:
    """Return the relative error of ``array`` after INT8 quantization with the best of several scales for all elements.

    The error is 0 for an array without elements or of zeros, and infinite if an element is not finite.
    """
    top = float(np.abs(array).max()) if array.size else 0.0
    if not top:
        return 0.0
    if not math.isfinite(top):
        return math.inf
    powers, errors = mean_squares(np.multiply(array, array, dtype=np.float64)), []
    for shrink in SHRINKS:
        step = top * shrink / 127
        codes = np.asarray(np.divide(array, step, dtype=np.float64))
        np.clip(np.rint(codes, out=codes), -128, 127, out=codes)
        codes *= step
        codes -= array
        codes *= codes
        errors.append(relative_error(codes, powers))
    return min(errors)


def round_weights(model: onnx.ModelProto, precision: str) -> None:
    """Round the model's FP32 initializers in place, as ``rounded`` does.

    For int8, instead quantize the weights of convolutions and matrix products in place, as ``quantized_weight`` does.
    """
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
            axis = 0 if _transposed(node) else WEIGHT_AXIS[node.op_type]
            if array.ndim > 1 and is_float(array.dtype):
                _replace(tensors[name], quantized_weight(array, axis))


def _weights(names: Iterable[str], tensors: Mapping[str, onnx.TensorProto]) -> list[str]:
    return [name for name in names if name in tensors]


def _transposed(node: onnx.NodeProto) -> bool:
    return any(attribute.name == "transB" and attribute.i for attribute in node.attribute)


def _replace(tensor: onnx.TensorProto, array: Array) -> None:
    tensor.CopyFrom(numpy_helper.from_array(np.ascontiguousarray(array), tensor.name))
