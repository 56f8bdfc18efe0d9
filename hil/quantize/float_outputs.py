"""Return a model's outputs in floating point where only the nodes that read them run in INT8.

``onnxruntime.quantization`` would round such an output, and a state would then lose precision at each step.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from hil.quantize.layout import EXTRA, OPERATORS

if TYPE_CHECKING:
    from collections.abc import Collection

    import onnx

    from hil.runtimes import QdqLayout


def restore_float_outputs(graph: onnx.GraphProto, kept: Collection[str], layout: QdqLayout) -> None:
    """Connect each output directly to its node, without Q and DQ nodes between them, if the node computes in float.

    Nodes of ``graph`` that read the output still read the dequantized value. ``kept`` are the names of the nodes that
    stay in float.
    """
    makers = {name: node for node in graph.node for name in node.output}
    rounded = set(OPERATORS[layout]) - set(EXTRA[layout].get("OpTypesToExcludeOutputQuantization", ()))
    for name in [value.name for value in graph.output]:
        dequantize = makers.get(name)
        quantize = _maker(dequantize, "DequantizeLinear", makers)
        maker = _maker(quantize, "QuantizeLinear", makers)
        if dequantize is None or quantize is None or maker is None:
            continue
        if maker.op_type in rounded and maker.name not in kept:
            continue
        inner, restored = quantize.input[0], f"{name}_DequantizeLinear_Output"
        for node in graph.node:
            node.input[:] = [{name: restored, inner: name}.get(one, one) for one in node.input]
        maker.output[:] = [name if one == inner else one for one in maker.output]
        dequantize.output[0] = restored


def _maker(node: onnx.NodeProto | None, kind: str, makers: dict[str, onnx.NodeProto]) -> onnx.NodeProto | None:
    """Return the node that makes the first input of ``node``; ``None`` if ``node`` is not a ``kind`` node."""
    return makers.get(node.input[0]) if node is not None and node.op_type == kind else None
