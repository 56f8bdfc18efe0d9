"""Give each node of a float model its own copy of a constant that several nodes read."""

from __future__ import annotations

from collections import defaultdict
from typing import TYPE_CHECKING

import onnx

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence


def copies(graph: onnx.GraphProto, operators: Sequence[str]) -> Iterator[tuple[onnx.NodeProto, int, str]]:
    """Yield each node that gets a copy of a constant, the number of its input, and the copy's name."""
    constants = {
        one.name for one in graph.initializer if one.data_type in {onnx.TensorProto.FLOAT, onnx.TensorProto.FLOAT16}
    }
    names = {*constants, *(name for node in graph.node for name in (*node.input, *node.output))}
    readers: dict[str, int] = defaultdict(int)
    for node in graph.node:
        for at, name in enumerate(node.input):
            if node.op_type not in operators or name not in constants:
                continue
            readers[name] += 1
            if readers[name] > 1 and (copy := f"{name}@{readers[name]}") not in names:
                yield node, at, copy


def separate_constants(graph: onnx.GraphProto, operators: Sequence[str]) -> None:
    """Copy each floating-point initializer for all but the first of the nodes in ``graph`` that read it.

    Only nodes with one of ``operators`` get copies. ONNX Runtime 1.32 computes exact 8-bit products on x86 processors
    without VNNI only if no two nodes share a quantized constant.
    """
    constants = {one.name: one for one in graph.initializer}
    for node, at, copy in list(copies(graph, operators)):
        graph.initializer.add().CopyFrom(constants[node.input[at]])
        graph.initializer[-1].name = node.input[at] = copy
