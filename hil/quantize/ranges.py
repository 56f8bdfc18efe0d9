"""The ranges that a Q/DQ model really carries, read from its own nodes."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from hil.quantize.layout import WEIGHTED

if TYPE_CHECKING:
    from pathlib import Path

    import onnx

_QUANTIZE, _DEQUANTIZE = "QuantizeLinear", "DequantizeLinear"
_SUFFIX = "_quantized"  # what onnxruntime.quantization calls a weight that it stored as INT8
_FED = 2  # inputs of a weighted node that INT8 needs: activation and weight; a bias may stay


@dataclass(frozen=True)
class Ranges:
    """Scales and zero points by tensor (one entry, or one a channel), and what should have them.

    ``quantizable`` are the tensors that feed a convolution or matrix product, ``nodes`` by name those that
    take INT8 on both.
    """

    scales: dict[str, list[float]] = field(default_factory=dict)
    zero_points: dict[str, list[int]] = field(default_factory=dict)
    quantizable: tuple[str, ...] = ()
    nodes: tuple[str, ...] = ()


def read_ranges(path: Path) -> Ranges:
    """Reads the ranges of the model at ``path``; a scale that is computed at run time is listed as empty."""
    import onnx

    return ranges_of(onnx.load(str(path), load_external_data=False), path.parent)


def weighted_nodes(path: Path) -> tuple[str, ...]:
    """Names of the model's convolutions and matrix products, in its order; empty for one without a name."""
    import onnx

    model = onnx.load(str(path), load_external_data=False)
    return tuple(node.name for node in model.graph.node if node.op_type in WEIGHTED)


def taken(path: Path) -> tuple[str, ...]:
    """The tensors that the model's convolutions and matrix products compute on, constants left out."""
    import onnx

    graph = onnx.load(str(path), load_external_data=False).graph
    fixed = {one.name for one in graph.initializer}
    fixed |= {node.output[0] for node in graph.node if node.op_type == "Constant"}
    fed = (name for node in graph.node if node.op_type in WEIGHTED for name in node.input[:_FED])
    return tuple(sorted({name for name in fed if name not in fixed}))


def ranges_of(model: onnx.ModelProto, folder: Path | None = None) -> Ranges:
    """As ``read_ranges``, of a model in memory; ``folder`` has its external data, if that was not loaded."""
    constants = _constants(model, str(folder or ""))
    makers = {output: node for node in model.graph.node for output in node.output}
    scales: dict[str, list[float]] = {}
    points: dict[str, list[int]] = {}
    for node in model.graph.node:
        if node.op_type in {_QUANTIZE, _DEQUANTIZE}:
            name = _tensor(node, makers)
            scales[name] = [float(value) for value in constants.get(node.input[1], ())]
            zero = node.input[2] if len(node.input) > _FED else ""
            points[name] = [int(value) for value in constants.get(zero, ())] if zero else [0]
    fed = [(node, node.input[:_FED]) for node in model.graph.node if node.op_type in WEIGHTED]
    quantizable = {_source(name, makers) for _, inputs in fed for name in inputs}
    inside = [
        node.name
        for node, inputs in fed
        if all(name in makers and makers[name].op_type == _DEQUANTIZE for name in inputs)
    ]
    return Ranges(scales, points, tuple(sorted(quantizable)), tuple(inside))


def _constants(model: onnx.ModelProto, folder: str) -> dict[str, Any]:
    from onnx import numpy_helper

    names = {name for node in model.graph.node if node.op_type in {_QUANTIZE, _DEQUANTIZE} for name in node.input[1:]}
    found = {t.name: numpy_helper.to_array(t, folder).ravel() for t in model.graph.initializer if t.name in names}
    for node in model.graph.node:
        if node.op_type == "Constant" and node.output[0] in names and node.attribute[0].name == "value":
            found[node.output[0]] = numpy_helper.to_array(node.attribute[0].t, folder).ravel()
    return found


def _tensor(node: onnx.NodeProto, makers: dict[str, onnx.NodeProto]) -> str:
    """The float tensor that a Q or DQ node stands for."""
    name: str = node.input[0]
    if node.op_type == _QUANTIZE:
        return name
    maker = makers.get(name)
    return maker.input[0] if maker is not None and maker.op_type == _QUANTIZE else name.removesuffix(_SUFFIX)


def _source(name: str, makers: dict[str, onnx.NodeProto]) -> str:
    maker = makers.get(name)
    return _tensor(maker, makers) if maker is not None and maker.op_type == _DEQUANTIZE else name
