"""The likely class of a node's error, from what differs between the two graphs and from the values themselves."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from hil.diagnose import constants, value_patterns
from hil.diagnose.diagnosis import Cause
from hil.diagnose.graph import DEQUANTIZE
from hil.diagnose.tensor_error import FP16_MAX, clipped, error, largest

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    import numpy.typing as npt
    import onnx

    from hil.diagnose.graph import Graph, Region
    from hil.diagnose.place import Place

    Array = npt.NDArray[Any]

Finding = tuple[Cause, list[str]]

CLIPPED = 0.001
"""Share of values beyond a range from which the range, and not its step, is to blame."""

IMPLIED = frozenset({"kernel_shape"})
"""Attributes that the weights tell as well."""

AXES = frozenset({"axis", "axes", "perm"})


def cause_of(place: Place, taken: Mapping[str, Array]) -> Finding:
    """The likely cause and its evidence in sentences; ``taken`` are the reference's values that the region reads.

    What differs between the graphs decides first, since it needs no guess; then what the values look like.
    """
    if place.region.pair.quantized:
        return _scale(place)
    for found in (_overflow(place), difference(place), value_patterns.cause(place, taken)):
        if found is not None:
            return found
    return Cause.UNKNOWN, [f"the node alone is off by {error(place.expected, place.obtained):.3g} of its RMS"]


def difference(place: Place) -> Finding | None:
    """What the two graphs have otherwise in a region, if anything: nodes, attributes, operands, constants."""
    if place.region.pair.quantized:
        return None
    return _extra(place) or _structure(place) or _weights(place)


def scale_of(graph: Graph, region: Region) -> float | None:
    """The step of the Q/DQ pair that ``region`` is, the largest where it has several; ``None`` if none is written."""
    nodes = [graph.nodes[number] for number in region.nodes]
    node = next((one for one in reversed(nodes) if one.op_type == DEQUANTIZE), None)
    scale = None if node is None else constants.value(graph, node.input[1])
    return None if scale is None or not scale.size else float(np.max(scale))


def _scale(place: Place) -> Finding:
    step = scale_of(place.suspect, place.region)
    if step is None:
        return Cause.SATURATED, ["the range is computed at run time"]
    top = largest(place.expected)
    told = f"scale {step:.4g} covers ±{127 * step:.4g}, the reference's values reach {top:.4g}"
    share = clipped(place.expected, step)
    if share > CLIPPED:
        return Cause.SATURATED, [told, f"{share:.2%} of the values are clipped"]
    used = top / step if step else 0.0
    return Cause.COARSE, [told, f"the values use {used:.3g} of 127 steps on each side"]


def _overflow(place: Place) -> Finding | None:
    finite, given = np.isfinite(place.expected), place.obtained
    if given.shape != place.expected.shape:
        return None
    bad = finite & ~np.isfinite(given)
    top = largest(place.expected)
    at_end = finite & (np.abs(given) >= FP16_MAX) & (np.abs(place.expected) > FP16_MAX)
    if not bad.any() and not at_end.any():
        return None
    count = f"{int((bad | at_end).sum())} of {given.size} values are not finite or stand at ±{FP16_MAX:.0f}"
    if place.precision == "fp16" or given.dtype == np.float16 or top > FP16_MAX:
        return Cause.OVERFLOW, [f"the reference reaches {top:.6g}, FP16 ends at {FP16_MAX:.0f}", count]
    return Cause.NOT_FINITE, [count.replace(f" or stand at ±{FP16_MAX:.0f}", ""), f"the reference reaches {top:.6g}"]


def _extra(place: Place) -> Finding | None:
    """Nodes between an input and the first tensor, or their constants, that the reference has otherwise."""
    ours, theirs = [node.op_type for node in place.ours()], [node.op_type for node in place.theirs()]
    fed = [name for name in place.region.takes if name in place.entering]
    if not fed or len(ours) <= len(theirs):
        return None
    more = list(ours)
    for op in theirs:
        if op in more:
            more.remove(op)
    first = [node.op_type for node in place.ours() if any(name in place.entering for name in node.input)]
    told = f"the engine's graph treats input {fed[0]!r} by {', '.join(more)} first, which the model does not"
    return (Cause.PREPROCESSING, [told]) if more and first and first[0] in more else None


def _structure(place: Place) -> Finding | None:
    """Attributes and missing operands of nodes that correspond."""
    for ours, theirs in zip(place.ours(), place.theirs(), strict=False):
        if ours.op_type != theirs.op_type:
            return None
        for name, (have, want) in _attributes(ours, theirs):
            told = f"{name} of the {ours.op_type} is {have} in the engine's graph, {want} in the model"
            kind = Cause.AXIS if name in AXES else Cause.EPSILON if name == "epsilon" else Cause.ATTRIBUTE
            return kind, [told]
        lacking = [name for name in theirs.input[len(ours.input) :] if name]
        if lacking and ours.op_type in {"Conv", "Gemm", "ConvTranspose"}:
            return Cause.BIAS, [f"the {ours.op_type} of the engine's graph has no bias, the model's has {lacking[0]!r}"]
        have, want = _wiring(place, ours), _wiring(place, theirs)
        if have != want and sorted(have) == sorted(want):
            return Cause.AXIS, [f"the {ours.op_type} takes {have} in the engine's graph, {want} in the model"]
    return None


def _wiring(place: Place, node: onnx.NodeProto) -> list[str]:
    return [name for name in node.input if name in place.reference.varying]


def _attributes(ours: onnx.NodeProto, theirs: onnx.NodeProto) -> Iterator[tuple[str, tuple[Any, Any]]]:
    have, want = constants.attributes(ours), constants.attributes(theirs)
    for name in sorted((set(have) | set(want)) - IMPLIED):
        one, other = (constants.attribute(node, name) for node in (ours, theirs))
        if not constants.same(one, other):
            yield name, (one, other)


def _weights(place: Place) -> Finding | None:
    """Constants of nodes that correspond."""
    if [node.op_type for node in place.ours()] != [node.op_type for node in place.theirs()]:
        return None
    first = any(name in place.entering for name in place.region.takes)
    for ours, theirs in zip(place.ours(), place.theirs(), strict=True):
        for number, (have, want) in enumerate(zip(ours.input, theirs.input, strict=False)):
            a, b = constants.value(place.suspect, have), constants.value(place.reference, want)
            if a is None or b is None:
                continue
            found = constants.difference(a, b, place.precision)
            if found is None:
                continue
            cause, told = found
            if number > 1 and place.precision == "int8" and cause in {Cause.WEIGHTS, Cause.SCALE}:
                continue  # a bias in INT32 has the step of its sums, which may be coarse for it
            if first and ours.op_type in {"Sub", "Div", "Mul", "Add"}:
                cause = Cause.PREPROCESSING
            if cause is Cause.BIAS and number == 0:
                cause = Cause.WEIGHTS
            return cause, [f"operand {number} ({want!r}) of the {ours.op_type}: {told}"]
    return None
