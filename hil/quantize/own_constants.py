"""Give each node of a float model its own copy of a constant that several nodes read."""

from __future__ import annotations

from collections import defaultdict
from typing import TYPE_CHECKING

import onnx

if TYPE_CHECKING:
    from collections.abc import Sequence


def separate_constants(graph: onnx.GraphProto, operators: Sequence[str]) -> None:
    """Copy each floating-point initializer for all but the first of the nodes in ``graph`` that read it.

    Only nodes with one of ``operators`` get copies. ONNX Runtime 1.32 computes exact 8-bit products on x86 processors
    without VNNI only if no two nodes share a quantized constant.
    """
    constants = {
        one.name: one
        for one in graph.initializer
        if one.data_type in {onnx.TensorProto.FLOAT, onnx.TensorProto.FLOAT16}
    }
    names = {*constants, *(name for node in graph.node for name in (*node.input, *node.output))}
    readers: dict[str, int] = defaultdict(int)
    for node in graph.node:
        for at, name in enumerate(node.input):
            if node.op_type not in operators or name not in constants:
                continue
            readers[name] += 1
            if readers[name] > 1 and (copy := f"{name}@{readers[name]}") not in names:
                graph.initializer.add().CopyFrom(constants[name])
                graph.initializer[-1].name = node.input[at] = copy
