"""Return a model's outputs in floating point where only the nodes that read them run in INT8.

``onnxruntime.quantization`` puts the Q and DQ nodes of a tensor that is also an output in front of the output. A state
that goes from step to step would then be rounded to eight bits at each step, although its own node computes in float,
and TensorRT would get a DQ node whose result leaves the network (its guide wants DQ nodes before layers that run in
INT8).
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from hil.quantize.layout import EXTRA, OPERATORS

if TYPE_CHECKING:
    from collections.abc import Collection

    import onnx

    from hil.runtimes import QdqLayout


def restore_float_outputs(graph: onnx.GraphProto, kept: Collection[str], layout: QdqLayout) -> None:
    """Take the Q and DQ nodes between each output and its node away from the output, if that node computes in float.

    The nodes of ``graph`` that read the output keep reading its dequantized value. ``kept`` are the names of the nodes
    that stay in float. An output of a node whose result ``layout`` quantizes is left as it is: it is INT8 in any case.
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
    """Return the node that makes the first input of ``node``; ``None`` if that is not of the kind."""
    return makers.get(node.input[0]) if node is not None and node.op_type == kind else None
