"""Find the nodes that compute sizes: INT8 would round them, and the outputs would have other shapes."""

from __future__ import annotations

from typing import TYPE_CHECKING

from onnx import TensorProto

from hil.onnx_files.precisions import WEIGHTED

if TYPE_CHECKING:
    import onnx

_FLOATS = frozenset({TensorProto.FLOAT, TensorProto.FLOAT16, TensorProto.BFLOAT16, TensorProto.DOUBLE})


def size_nodes(proto: onnx.ModelProto) -> list[str]:
    """Return the names of the nodes whose result becomes integers or the factors of a Resize.

    The nodes of ``proto`` are sorted. Convolutions and matrix products are left out, and so are the nodes before them.
    """
    wanted: set[str] = set()
    names = []
    for node in reversed(proto.graph.node):
        if node.op_type in WEIGHTED:
            continue
        if node.op_type == "Cast" and node.attribute[0].i not in _FLOATS:
            wanted.update(node.input)
        elif not wanted.isdisjoint(node.output):
            wanted.update(node.input)
            names.append(node.name)
        elif node.op_type in {"Resize", "Upsample"}:
            wanted.update(node.input[1:])
        wanted.discard("")  # an omitted input
    return names
