"""Find the tensors that join values of unlike ranges: with one scale, INT8 rounds the smaller values to nearly nothing.

An example is a detector's output of boxes (0 to 320) and scores (0 to 1).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
from onnx import numpy_helper

from hil.dtypes import is_float
from hil.onnx_files.precisions import WEIGHTED
from hil.quantize.masks import BOUNDED, CARRYING

if TYPE_CHECKING:
    from collections.abc import Mapping

    import onnx

UNLIKE = 8.0
"""Two tensors are unlike if the ratio of their largest magnitudes is at least this: the smaller one then has at most 16
of 127 steps.

In three detectors and a text reader, the concatenations of feature maps have ratios from 1 to 5.
"""

_ARITHMETIC = frozenset({"Add", "Div", "Mul", "Sub"})
"""Operators that keep unlike ranges if the other operand is constant; with another operand, the ranges are new."""

_OVERLAYING = frozenset({"Add", "Max", "Sum"})
"""Operators that join their operands if one operand is padded: each value of the result is then that of one operand."""

_KEEPING = (CARRYING | BOUNDED) - _ARITHMETIC - {"Gather", "Slice", "Split", "Where"}
"""Operators whose result has the ranges of their operand. Those that select a part are not among them: a part may have
only one range."""


def unlike_joins(proto: onnx.ModelProto, ranges: Mapping[str, Any]) -> dict[str, str]:
    """Return the tensors that consist of values of unlike ranges, each with a text that states the ranges.

    These are the outputs of a Concat or of a sum of padded tensors, and tensors computed from them by operators that
    keep the ranges. ``ranges`` has ``range_value``, the smallest and the largest value, of the calibrated tensors. The
    nodes of ``proto`` must be sorted.
    """
    constants = {tensor.name: tensor for tensor in proto.graph.initializer}
    for node in proto.graph.node:
        if node.op_type == "Constant" and node.attribute[0].name == "value":
            constants[node.output[0]] = node.attribute[0].t
    joined: dict[str, str] = {}
    padded = {name for node in proto.graph.node if node.op_type == "Pad" for name in node.output}
    for node in proto.graph.node:
        origin = next((name for name in node.input if name in joined), "")
        others = (name for name in node.input if name != origin)
        scaled = node.op_type in _ARITHMETIC and all(name in constants for name in others)
        if origin and (node.op_type in _KEEPING or scaled):
            joined |= dict.fromkeys(node.output, joined[origin])
        elif node.op_type == "Concat" or (node.op_type in _OVERLAYING and padded.intersection(node.input)):
            tops = [top for name in node.input if (top := _top(name, ranges, constants))]
            if tops and max(tops) >= UNLIKE * min(tops):
                joined[node.output[0]] = f"{node.name} joins values up to {min(tops):.3g} and up to {max(tops):.3g}"
    return joined


def _top(name: str, ranges: Mapping[str, Any], constants: Mapping[str, onnx.TensorProto]) -> float:
    """Return the largest magnitude of a tensor of floating-point values; 0 if it is unknown."""
    if name in ranges:
        values = np.asarray(ranges[name].range_value, np.float64)
    elif name in constants:
        array = numpy_helper.to_array(constants[name])
        values = array.astype(np.float64) if is_float(array.dtype) else np.zeros(1)
    else:
        return 0.0
    values = np.abs(values[np.isfinite(values)])
    return float(values.max()) if values.size else 0.0


def nodes_at_joins(proto: onnx.ModelProto, joined: Mapping[str, str]) -> dict[str, str]:
    """Return, by name, the nodes that read or return a tensor of ``joined``, with the tensor's text.

    Convolutions and matrix products that return such a tensor but read none are left out.
    """
    return {
        node.name: joined[name]
        for node in proto.graph.node
        for name in (*([] if node.op_type in WEIGHTED else node.output), *node.input)
        if name in joined
    }
