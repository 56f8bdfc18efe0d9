"""State which nodes of a model became INT8, and why the others stay in float."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from hil.errors import EngineBuildError
from hil.onnx_files.operators import with_inner
from hil.onnx_files.precisions import WEIGHTED
from hil.quantize.ranges import ranges_of

if TYPE_CHECKING:
    from collections.abc import Mapping

    import onnx


def quantization_facts(
    floating: onnx.ModelProto, result: onnx.ModelProto, kept: Mapping[str, tuple[str, str]], model: str
) -> dict[str, Any]:
    """Return ``quantized`` (the nodes in INT8), ``skipped`` and ``tensors`` (the number of tensors with a range).

    ``skipped`` has each tensor that is in float because of ``kept`` (``kept_nodes``) or an If, Loop or Scan, with the
    reason. Raise ``EngineBuildError`` if no node is in INT8.
    """
    ranges = ranges_of(result)
    if not ranges.nodes:
        raise nothing_to_quantize(floating, model)
    bare = set(ranges.quantizable) - set(ranges.scales)
    left = [node for node in layers(floating) if node.name in kept]
    skipped = {name: kept[node.name][1] for node in left for name in node.input[:2] if name in bare}
    skipped |= {name: why for name, why in _inside(floating).items() if name not in bare | set(ranges.scales)}
    return {"quantized": list(ranges.nodes), "skipped": skipped, "tensors": len(ranges.scales)}


def layers(proto: onnx.ModelProto) -> list[onnx.NodeProto]:
    """Return the convolutions and matrix products of the main graph, which INT8 is intended for."""
    return [node for node in proto.graph.node if node.op_type in WEIGHTED]


def _inside(proto: onnx.ModelProto) -> dict[str, str]:
    """Return the first inputs of layers in bodies of If, Loop and Scan, each with the reason why it is in float."""
    return {
        node.input[0]: f"node {node.name or node.output[0]} is in a body of {outer.name}, which stays in float"
        for outer in proto.graph.node
        for node in with_inner([outer])
        if node.op_type in WEIGHTED and node is not outer
    }


def nothing_to_quantize(proto: onnx.ModelProto, model: str) -> EngineBuildError:
    """Return the error for a model, called ``model``, that has no layer that could become INT8."""
    if layers(proto):
        why = "each of its convolutions and matrix products is excluded, of unlike ranges, or not in float32 or float16"
    elif _inside(proto):
        why = "its convolutions and matrix products are in bodies of If, Loop or Scan, which stay in float"
    else:
        why = f"it has no {', '.join(WEIGHTED)}"
    return EngineBuildError(f"nothing of model {model} could be quantized: {why}: remove int8 from its precisions")
