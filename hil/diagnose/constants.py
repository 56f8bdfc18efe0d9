"""Reads constants and attributes of a graph as values, and describes how two values differ."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
from onnx import defs, helper, numpy_helper

from hil.diagnose.diagnosis import Cause
from hil.diagnose.graph import DEQUANTIZE
from hil.diagnose.tensor_error import FP16_MAX
from hil.dtypes import is_float

if TYPE_CHECKING:
    from collections.abc import Mapping

    import numpy.typing as npt
    import onnx

    from hil.diagnose.graph import Graph

    Array = npt.NDArray[Any]

SAME: Mapping[str, float] = {
    "fp32": 1e-6,
    "tf32": 1e-3,
    "fp16": 1e-3,
    "bf16": 8e-3,
    "int8": 2e-2,
    "fp8": 0.1,
    "fp4": 0.3,
    "int4": 0.2,
}
"""Largest difference, relative to the largest magnitude, at which two constants count as equal in a precision."""

STEP: Mapping[str, float] = {"fp16": 2.0**-24}
"""Absolute difference up to which constants count as equal too: FP16's step near zero. Other precisions have none."""

LISTED_SHAPE = 6
MOST_CHANNELS = 512
"""Largest number of channels for which a permutation is searched; more would take minutes."""


def value(graph: Graph, name: str, depth: int = 8) -> Array | None:
    """Return the value of the tensor ``name``, in the dtype before any Cast; ``None`` if it is not a constant.

    At most ``depth`` Identity, Cast and DequantizeLinear nodes may lie between the constant and the tensor, and no
    others.
    """
    if name in graph.constants:
        return numpy_helper.to_array(graph.constants[name])
    if name not in graph.makers or name in graph.varying or not depth:
        return None
    node = graph.nodes[graph.makers[name]]
    if node.op_type == "Constant":
        constant = attributes(node).get("value")
        return constant if isinstance(constant, np.ndarray) else None
    if node.op_type in {"Identity", "Cast"}:
        return value(graph, node.input[0], depth - 1)
    if node.op_type == DEQUANTIZE:
        return _dequantized(graph, node, depth)
    return None


def _dequantized(graph: Graph, node: onnx.NodeProto, depth: int) -> Array | None:
    source, scale, *zero_points = (value(graph, name, depth - 1) for name in node.input if name)
    if source is None or scale is None:
        return None
    zero = zero_points[0] if zero_points else np.zeros_like(scale)
    if zero is None:
        return None
    axis = int(attributes(node).get("axis", 1))
    shape = [1] * source.ndim
    if scale.size > 1 and source.ndim:
        shape[axis % source.ndim] = scale.size
    array: Array = (source.astype(np.float32) - zero.astype(np.float32).reshape(shape)) * scale.reshape(shape)
    return array


def attributes(node: onnx.NodeProto) -> dict[str, Any]:
    """Return the node's attributes by name. Tensors become arrays; attributes that are graphs are left out."""
    values: dict[str, Any] = {}
    for attribute in node.attribute:
        content = helper.get_attribute_value(attribute)
        if attribute.HasField("g") or attribute.graphs:
            continue
        if attribute.HasField("t"):
            content = numpy_helper.to_array(attribute.t)
        is_list = isinstance(content, (list, tuple)) or hasattr(content, "append")
        values[attribute.name] = list(content) if is_list else content
    return values


def attribute(node: onnx.NodeProto, name: str) -> Any:
    """Return the value of the node's attribute ``name``; without one, the ONNX schema's default; else ``None``."""
    values = attributes(node)
    if name in values:
        return values[name]
    try:
        default = defs.get_schema(node.op_type, domain=node.domain).attributes[name].default_value
    except (defs.SchemaError, KeyError):
        return None
    return helper.get_attribute_value(default) if default.type else None


def same(one: Any, other: Any) -> bool:
    """Return whether two values of an attribute are equivalent; ``None`` is an absent attribute with its default."""
    if one is None or other is None:
        present = other if one is None else one
        return isinstance(present, list) and (len(set(present)) <= 1 or set(present) <= {0, 1})
    if isinstance(one, np.ndarray) or isinstance(other, np.ndarray):
        return bool(np.array_equal(one, other))
    if isinstance(one, float) and isinstance(other, float):
        return abs(one - other) <= SAME["fp32"] * max(abs(one), abs(other))
    return bool(one == other)


@np.errstate(invalid="ignore")  # infinity less infinity, where both have it
def difference(ours: Array, theirs: Array, precision: str) -> tuple[Cause, str] | None:  # noqa: PLR0911 - a rule each
    """Return how ``ours``, a constant of the engine's graph, differs from ``theirs``, the model's.

    Return ``None`` if they differ by no more than rounding in ``precision``.
    """
    if ours.shape != theirs.shape:
        return Cause.WEIGHTS, f"its shape is {list(ours.shape)}, the model's is {list(theirs.shape)}"
    if not is_float(theirs.dtype):
        same = np.array_equal(ours, theirs)
        return (
            None if same else (Cause.AXIS, f"it is {ours.ravel()[:LISTED_SHAPE]}, not {theirs.ravel()[:LISTED_SHAPE]}")
        )
    a, b = ours.astype(np.float64), theirs.astype(np.float64)
    top = float(np.abs(b[np.isfinite(b)]).max(initial=0.0))
    room = max(SAME[precision] * top, STEP.get(precision, 0.0))
    apart = ~((a == b) | (np.isnan(a) & np.isnan(b)) | (np.abs(a - b) <= room))
    if not apart.any():
        return None
    beyond = np.isfinite(b) & (np.abs(b) > FP16_MAX) & (np.isinf(a) | (np.abs(a) == FP16_MAX))
    if beyond.any():
        return Cause.OVERFLOW, f"{int(beyond.sum())} of {a.size} elements exceed ±{FP16_MAX:.0f}, the largest {top:.6g}"
    if not a.any():
        return Cause.BIAS, "it is all zeros, the model's is not"
    order = _order(a, b, room)
    if order is not None:
        return Cause.CHANNELS, order
    ratio = _ratio(a, b)
    if ratio is not None and abs(ratio - 1) > SAME[precision]:  # else single elements differ, not the scale
        return Cause.SCALE, f"it is {ratio:.4g} times the model's"
    where = np.unravel_index(int(np.where(apart, np.abs(a - b), -1.0).argmax()), a.shape)
    at, count = [int(index) for index in where], int(apart.sum())
    return Cause.WEIGHTS, f"{count} of {a.size} elements differ, most at {at}: {a[where]:.6g} instead of {b[where]:.6g}"


def _order(ours: Array, theirs: Array, room: float) -> str | None:
    """Return a sentence about an axis along which ``ours`` has the slices of ``theirs`` in another order, or ``None``.

    Elements count as equal if they differ by at most ``room``.
    """
    for axis in range(theirs.ndim):
        count = theirs.shape[axis]
        if count > 1 and np.abs(ours - np.flip(theirs, axis)).max() <= room:
            return f"its slices along axis {axis} are the model's in reverse order"
        if not 1 < count <= MOST_CHANNELS:
            continue
        a, b = (np.moveaxis(array, axis, 0).reshape(count, -1) for array in (ours, theirs))
        moved = [row for row in range(count) if np.abs(a[row] - b[row]).max() > room]
        places = [next((to for to in moved if np.abs(a[row] - b[to]).max() <= room), None) for row in moved]
        if moved and None not in places and len(set(places)) == len(moved):
            return f"slices {moved[:LISTED_SHAPE]} along axis {axis} are slices {places[:LISTED_SHAPE]} of the model's"
    return None


def _ratio(ours: Array, theirs: Array) -> float | None:
    """Return the factor from ``theirs`` to ``ours`` if it is the same for all elements, else ``None``.

    Factors may differ by 2 %; tiny elements are ignored.
    """
    significant = np.abs(theirs) > 1e-3 * np.abs(theirs).max()
    if not significant.any():
        return None
    ratios = ours[significant] / theirs[significant]
    if not np.isfinite(ratios).all():
        return None
    middle = float(np.median(ratios))
    return middle if abs(middle) > 0 and np.abs(ratios / middle - 1).max() < 2e-2 else None
