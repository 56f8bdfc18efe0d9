"""Finds the likely cause of a node's error, from the differences between the two graphs and from the values."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from hil.diagnose import constants, value_patterns
from hil.diagnose.diagnosis import Cause
from hil.diagnose.graph import DEQUANTIZE
from hil.diagnose.tensor_error import FP16_MAX, clipped, error, largest

if TYPE_CHECKING:
    from collections.abc import Iterator

    import numpy.typing as npt
    import onnx

    from hil.diagnose.graph import Graph, Region
    from hil.diagnose.place import Place

    Array = npt.NDArray[Any]

Finding = tuple[Cause, list[str]]

CLIPPED = 0.001
"""Share of clipped values above which the cause is a range that is too small, not a step that is too coarse."""

IMPLIED = frozenset({"kernel_shape"})
"""Attributes that are not compared, because they follow from the shape of the weights."""

BIAS_OPERAND = 2
"""The operand of a convolution, a Gemm and a normalization that is its bias; other operands are weights."""

AXES = frozenset({"axis", "axes", "perm"})


def cause_of(place: Place) -> Finding:
    """Return the likely cause of the error at ``place``, and the evidence in sentences.

    For a pair of QuantizeLinear and DequantizeLinear, the cause is its scale. For other nodes, it is an overflow, else
    a difference between the graphs, else a guess from the values.
    """
    if place.region.pair.quantized:
        return _scale(place)
    for finding in (_overflow(place), difference(place), value_patterns.cause(place)):
        if finding is not None:
            return finding
    return Cause.UNKNOWN, [f"the relative error of the node alone is {error(place.expected, place.obtained):.3g}"]


def difference(place: Place) -> Finding | None:
    """Return the first difference of the two graphs in a region: nodes, attributes, operands or constants.

    Return ``None`` if there is no difference, and for a pair of QuantizeLinear and DequantizeLinear.
    """
    if place.region.pair.quantized:
        return None
    return _extra(place) or _structure(place) or _weights(place)


def scale_of(graph: Graph, region: Region) -> float | None:
    """Return the largest step of the region's DequantizeLinear; ``None`` if there is no constant step."""
    nodes = [graph.nodes[number] for number in region.nodes]
    node = next((node for node in reversed(nodes) if node.op_type == DEQUANTIZE), None)
    scale = None if node is None else constants.value(graph, node.input[1])
    return None if scale is None or not scale.size else float(np.max(scale))


def _scale(place: Place) -> Finding:
    step = scale_of(place.suspect, place.region)
    if step is None:
        return Cause.SATURATED, ["the range is computed at run time"]
    top = largest(place.expected)
    coverage = f"scale {step:.4g} covers ±{127 * step:.4g}, the reference's values reach {top:.4g}"
    share = clipped(place.expected, step)
    if share > CLIPPED:
        return Cause.SATURATED, [coverage, f"{share:.2%} of the values are clipped"]
    used = min(top / step, 127.0) if step else 0.0
    return Cause.COARSE, [coverage, f"the values use {used:.3g} of 127 steps on each side"]


def _overflow(place: Place) -> Finding | None:
    finite, obtained = np.isfinite(place.expected), place.obtained
    if obtained.shape != place.expected.shape:
        return None
    bad = finite & ~np.isfinite(obtained)
    beyond = finite & (np.abs(place.expected) > FP16_MAX)
    has_half = place.precision in {"fp16", "int8"} or obtained.dtype == np.float16
    # TensorRT's int8 engines have layers in FP16; a larger value that is right shows that this layer is not one.
    at_end = beyond & ((np.abs(obtained) == FP16_MAX) if has_half else False)
    if not bad.any() and not at_end.any():
        return None
    top = largest(place.expected)
    count = f"{int((bad | at_end).sum())} of {obtained.size} values are not finite or are at ±{FP16_MAX:.0f}"
    if place.precision == "fp16" or obtained.dtype == np.float16 or (has_half and beyond[bad].all()):
        return Cause.OVERFLOW, [f"the reference reaches {top:.6g}, FP16 ends at {FP16_MAX:.0f}", count]
    return Cause.NOT_FINITE, [count.replace(f" or are at ±{FP16_MAX:.0f}", ""), f"the reference reaches {top:.6g}"]


def _extra(place: Place) -> Finding | None:
    """Return a finding about nodes that preprocess an input in the engine's graph only; ``None`` without any."""
    ours, theirs = [node.op_type for node in place.ours()], [node.op_type for node in place.theirs()]
    fed = [name for name in place.region.takes if name in place.entering]
    if not fed or len(ours) <= len(theirs):
        return None
    more = list(ours)
    for op in theirs:
        if op in more:
            more.remove(op)
    first = [node.op_type for node in place.ours() if any(name in place.entering for name in node.input)]
    text = f"the engine's graph applies {', '.join(more)} to input {fed[0]!r} first, the model does not"
    return (Cause.PREPROCESSING, [text]) if more and first and first[0] in more else None


def _structure(place: Place) -> Finding | None:
    """Return a finding about an attribute, a bias or an operand order that differs; ``None`` if none does."""
    for ours, theirs in zip(place.ours(), place.theirs(), strict=False):
        if ours.op_type != theirs.op_type:
            return None
        for name, (have, want) in _attributes(ours, theirs):
            text = f"{name} of the {ours.op_type} is {have} in the engine's graph, {want} in the model"
            kind = Cause.AXIS if name in AXES else Cause.EPSILON if name == "epsilon" else Cause.ATTRIBUTE
            return kind, [text]
        missing = [name for name in theirs.input[len(ours.input) :] if name]
        if missing and ours.op_type in {"Conv", "Gemm", "ConvTranspose"}:
            return Cause.BIAS, [f"the {ours.op_type} of the engine's graph has no bias, the model's has {missing[0]!r}"]
        have, want = _wiring(place, ours), _wiring(place, theirs)
        if have != want and sorted(have) == sorted(want):
            return Cause.AXIS, [f"the {ours.op_type} takes {have} in the engine's graph, {want} in the model"]
    return None


def _wiring(place: Place, node: onnx.NodeProto) -> list[str]:
    return [name for name in node.input if name in place.reference.varying]


def _attributes(ours: onnx.NodeProto, theirs: onnx.NodeProto) -> Iterator[tuple[str, tuple[Any, Any]]]:
    have, want = constants.attributes(ours), constants.attributes(theirs)
    for name in sorted((set(have) | set(want)) - IMPLIED):
        values = (constants.attribute(ours, name), constants.attribute(theirs, name))
        if not constants.same(*values):
            yield name, values


def _weights(place: Place) -> Finding | None:
    """Return a finding about a constant that differs between corresponding nodes; ``None`` if none does."""
    if [node.op_type for node in place.ours()] != [node.op_type for node in place.theirs()]:
        return None
    first = any(name in place.entering for name in place.region.takes)
    for ours, theirs in zip(place.ours(), place.theirs(), strict=True):
        for number, (have, want) in enumerate(zip(ours.input, theirs.input, strict=False)):
            a, b = constants.value(place.suspect, have), constants.value(place.reference, want)
            if a is None or b is None:
                continue
            finding = constants.difference(a, b, place.precision)
            if finding is None:
                continue
            cause, text = finding
            if number > 1 and place.precision == "int8" and cause in {Cause.WEIGHTS, Cause.SCALE}:
                continue  # an INT32 bias has the step of the sums, which may be coarse for its values
            if first and ours.op_type in {"Sub", "Div", "Mul", "Add"}:
                cause = Cause.PREPROCESSING
            if cause is Cause.BIAS and number != BIAS_OPERAND and ours.op_type not in {"Add", "Sub"}:
                cause = Cause.WEIGHTS
            return cause, [f"operand {number} ({want!r}) of the {ours.op_type}: {text}"]
    return None
