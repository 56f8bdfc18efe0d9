"""The operators of an ONNX file: those that ONNX Runtime lacks, and those that compute in a quantized network."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from hil.text import clean

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    import onnx

DOMAINS = frozenset(
    {
        "",
        "ai.onnx",
        "ai.onnx.ml",
        "ai.onnx.preview.training",
        "ai.onnx.training",
        "com.microsoft",
        "com.microsoft.nchwc",  # this and the next: in files that ONNX Runtime saved after its optimization
        "com.ms.internal.nhwc",
    }
)
"""Operator domains that ONNX Runtime knows without a custom library."""

QDQ = frozenset({"QuantizeLinear", "DequantizeLinear"})
"""Operators that mark what runs in a quantized type."""

PAIRED = re.compile(r"(Quantize|Dequantize)Linear|TRT_\w+")
"""Names of those that are, or stand for, Q/DQ nodes, from which engines are built."""

QUANTIZED = re.compile(
    r"(Dynamic)?Quantize\w+|Dequantize\w+|Q(Linear|Ordered)\w+|Q(Attention|EmbedLayerNormalization|Gemm|MoE)"
    r"|\w+Integer\w*|MatMulNBits|MatMulBnb4|GatherBlockQuantized|TRT_\w*QuantizeLinear"
)
"""Names of operators that only a quantizer writes: of ONNX, of ONNX Runtime, and of ModelOpt for TensorRT."""


def operators(model: onnx.ModelProto) -> frozenset[tuple[str, str]]:
    """Return domain and name of each operator that the graph, its subgraphs or its functions use.

    Calls of functions that the file defines are left out.
    """
    own = {(function.domain, function.name) for function in model.functions}
    nodes = [*model.graph.node, *(node for function in model.functions for node in function.node)]
    return frozenset((node.domain, node.op_type) for node in with_inner(nodes)) - own


def with_inner(nodes: Iterable[onnx.NodeProto]) -> Iterator[onnx.NodeProto]:
    """Yield each node, followed by the nodes in its bodies (of ``If``, ``Loop`` and ``Scan``), at any depth."""
    for node in nodes:
        yield node
        for attribute in node.attribute:
            for graph in (attribute.g, *attribute.graphs):
                yield from with_inner(graph.node)


def foreign(used: Iterable[tuple[str, str]]) -> tuple[str, ...]:
    """Return the operators outside ``DOMAINS`` as sorted ``domain:operator``."""
    return tuple(sorted(clean(f"{domain}:{name}") for domain, name in used if domain not in DOMAINS))


def quantized(used: Iterable[tuple[str, str]]) -> tuple[str, ...]:
    """Return the sorted names of the operators that only a quantizer writes."""
    names = {clean(name) for domain, name in used if domain in DOMAINS or domain == "trt"}
    return tuple(sorted(name for name in names if QUANTIZED.fullmatch(name)))
