"""Find the tensors whose range a mask sets: a very large constant that is added to scores, or replaces some of them.

Attention in exported models does this with -1e9 or -inf. In INT8, all other scores would become equal.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
from onnx import TensorProto, numpy_helper

from hil.dtypes import is_float
from hil.onnx_files.precisions import WEIGHTED
from hil.quantize.layout import PASSING

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Mapping

    import onnx

LARGE = 1e3
"""Smallest magnitude of a constant that is treated as a mask: with it, the step of symmetric INT8 is 8 or more."""

BOUNDED = frozenset({"Clip", "MaxPool", "Relu"})
"""Operators of ``PASSING`` that remove a mask's large values."""

CARRYING = (frozenset(PASSING) - BOUNDED) | frozenset(
    {"Cast", "Div", "Expand", "Gather", "Identity", "Neg", "Slice", "Sub", "Tile", "Trilu", "Where"}
)
"""Operators whose result contains the large values of an operand."""

_CONSTANTS = frozenset({"Constant", "ConstantOfShape"})
_FLOATS = frozenset({TensorProto.FLOAT, TensorProto.FLOAT16, TensorProto.BFLOAT16, TensorProto.DOUBLE})


def masked_tensors(proto: onnx.ModelProto, feeds: Iterable[Mapping[str, np.ndarray[Any, Any]]]) -> frozenset[str]:
    """Return the activations whose range a mask sets, for a graph whose nodes are sorted.

    A mask is a float constant, or an input of one of ``feeds``, with a magnitude of ``LARGE`` or more. Inputs of
    convolutions and matrix products are left out.
    """
    nodes = proto.graph.node
    read = {name for node in nodes if node.op_type in CARRYING for name in node.input}
    constants = {tensor.name for tensor in proto.graph.initializer if tensor.name in read and _is_large(tensor)}
    constants |= {node.output[0] for node in nodes if node.op_type in _CONSTANTS and any(map(_holds, node.attribute))}
    masked = {name for feed in feeds for name, array in feed.items() if is_float(array.dtype) and _reaches(array)}
    for node in nodes:
        inputs = node.input[:1] if node.op_type == "Div" else node.input  # a large divisor gives small values
        if node.op_type in CARRYING and any(name in masked or name in constants for name in inputs):
            masked.update(node.output)
    return frozenset(masked) - {name for node in nodes if node.op_type in WEIGHTED for name in node.input}


def masked_nodes(proto: onnx.ModelProto, masked: Collection[str]) -> list[str]:
    """Return the names of the nodes that read or return a tensor of ``masked``.

    Convolutions and matrix products are left out.
    """
    return [
        node.name
        for node in proto.graph.node
        if node.op_type not in WEIGHTED and not {*node.input, *node.output}.isdisjoint(masked)
    ]


def _holds(attribute: onnx.AttributeProto) -> bool:
    return _is_large(attribute.t) or _reaches(np.array([attribute.f, *attribute.floats]))


def _is_large(tensor: onnx.TensorProto) -> bool:
    return tensor.data_type in _FLOATS and _reaches(numpy_helper.to_array(tensor))


def _reaches(array: np.ndarray[Any, Any]) -> bool:
    return bool(array.size) and bool(array.max() >= LARGE or array.min() <= -LARGE)
