"""The ranges in a Q/DQ model, read from its own nodes."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from hil.onnx_files.precisions import WEIGHTED

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    import onnx

_QUANTIZE, _DEQUANTIZE = "QuantizeLinear", "DequantizeLinear"
_SUFFIX = "_quantized"  # onnxruntime.quantization appends this to the name of a weight stored as INT8
_FED = 2  # inputs of a weighted node that must be INT8: activation and weight; a bias may stay in float


@dataclass(frozen=True)
class Ranges:
    """Scales and zero points of each tensor (a list of one entry, or of one per channel).

    ``quantizable`` are the tensors that should have them. ``nodes`` are the names of the convolutions and matrix
    products that read INT8 on both inputs. ``biases`` are the tensors stored as INT32, whose scale is a product of two
    others.
    """

    scales: dict[str, list[float]] = field(default_factory=dict)
    zero_points: dict[str, list[int]] = field(default_factory=dict)
    quantizable: tuple[str, ...] = ()
    nodes: tuple[str, ...] = ()
    biases: frozenset[str] = frozenset()


def read_ranges(path: Path) -> Ranges:
    """Return the ranges of the model at ``path``; a scale that is computed at run time is an empty list.

    Tensors whose scales are quantized at run time (activations in NVFP4) are left out.
    """
    import onnx

    return ranges_of(onnx.load(str(path), load_external_data=False), path.parent)


def weighted_nodes(path: Path) -> tuple[str, ...]:
    """Return the names of the model's convolutions and matrix products in order; ``""`` for a node without a name."""
    import onnx

    model = onnx.load(str(path), load_external_data=False)
    return tuple(node.name for node in model.graph.node if node.op_type in WEIGHTED)


def weighted_inputs(path: Path) -> tuple[str, ...]:
    """Return the tensors that the model's convolutions and matrix products read, without constants and biases."""
    import onnx

    graph = onnx.load(str(path), load_external_data=False).graph
    constants = {initializer.name for initializer in graph.initializer}
    constants |= {node.output[0] for node in graph.node if node.op_type == "Constant"}
    fed = (name for node in graph.node if node.op_type in WEIGHTED for name in node.input[:_FED])
    return tuple(sorted({name for name in fed if name not in constants}))


def computed_tensors(path: Path) -> frozenset[str]:
    """Return the tensors that nodes of the model's main graph compute, without constants."""
    import onnx

    nodes = onnx.load(str(path), load_external_data=False).graph.node
    return frozenset(name for node in nodes if node.op_type != "Constant" for name in node.output if name)


def zero_constants(path: Path) -> frozenset[str]:
    """Return the names of the model's constants whose values are all 0."""
    import onnx
    from onnx import numpy_helper

    graph = onnx.load(str(path)).graph
    tensors = {one.name: one for one in graph.initializer}
    for node in graph.node:
        values = [one.t for one in node.attribute if one.name == "value"] if node.op_type == "Constant" else []
        tensors |= dict(zip(node.output, values, strict=False))
    return frozenset(name for name, one in tensors.items() if not numpy_helper.to_array(one).any())


def ranges_of(model: onnx.ModelProto, folder: Path | None = None) -> Ranges:
    """Return the ranges of a model in memory; ``folder`` contains its external data if that is not loaded."""
    constants = _constants(model, str(folder or ""))
    producers = {output: node for node in model.graph.node for output in node.output}
    scales: dict[str, list[float]] = {}
    zero_points: dict[str, list[int]] = {}
    inner = {name for node in model.graph.node for name in _scales_of(node, producers)}
    wide = {one.name for one in model.graph.initializer if one.data_type == one.INT32}
    biases = set()
    for node in model.graph.node:
        if node.op_type in {_QUANTIZE, _DEQUANTIZE} and node.output[0] not in inner:
            values = _scale_values(node, producers, constants)
            if values is None:  # NVFP4's activations: computed from the values at run time
                continue
            name = _tensor(node, producers)
            scales[name] = values
            if node.op_type == _DEQUANTIZE and node.input[0] in wide:
                biases.add(name)
            zero = node.input[2] if len(node.input) > _FED else ""
            zero_points[name] = [int(value) for value in constants.get(zero, ())] if zero else [0]
    fed = [(node, node.input[:_FED]) for node in model.graph.node if node.op_type in WEIGHTED]
    quantizable = {_source(name, producers) for _, inputs in fed for name in inputs}
    quantized = [
        node.name
        for node, inputs in fed
        if all(name in producers and producers[name].op_type == _DEQUANTIZE for name in inputs)
    ]
    return Ranges(scales, zero_points, tuple(sorted(quantizable)), tuple(quantized), frozenset(biases))


def _scales_of(node: onnx.NodeProto, producers: dict[str, onnx.NodeProto]) -> Iterator[str]:
    """Yield the name of a Q or DQ node's scale if it is itself quantized, as in NVFP4."""
    producer = producers.get(node.input[1]) if node.op_type in {_QUANTIZE, _DEQUANTIZE} else None
    if producer is not None and producer.op_type == _DEQUANTIZE:
        yield node.input[1]


def _scale_values(
    node: onnx.NodeProto, producers: dict[str, onnx.NodeProto], constants: dict[str, Any]
) -> list[float] | None:
    """Return the scales of a Q or DQ node; ``None`` if they are quantized at run time."""
    scale = node.input[1]
    if not list(_scales_of(node, producers)):
        return [float(value) for value in constants.get(scale, ())]
    stored, outer = producers[scale].input[:2]
    if stored not in constants or outer not in constants:
        return None
    return [float(value) * float(constants[outer][0]) for value in constants[stored]]


def _constants(model: onnx.ModelProto, folder: str) -> dict[str, Any]:
    from onnx import numpy_helper

    producers = {output: node for node in model.graph.node for output in node.output}
    marks = [node for node in model.graph.node if node.op_type in {_QUANTIZE, _DEQUANTIZE}]
    names = {name for node in marks for name in node.input[1:]}
    names |= {producers[name].input[0] for node in marks for name in _scales_of(node, producers)}
    values = {t.name: numpy_helper.to_array(t, folder).ravel() for t in model.graph.initializer if t.name in names}
    for node in model.graph.node:
        if node.op_type == "Constant" and node.output[0] in names and node.attribute[0].name == "value":
            values[node.output[0]] = numpy_helper.to_array(node.attribute[0].t, folder).ravel()
    return values


def _tensor(node: onnx.NodeProto, producers: dict[str, onnx.NodeProto]) -> str:
    """Return the name of the float tensor that ``node``, a Q or DQ node, quantizes or restores."""
    name: str = node.input[0]
    if node.op_type == _QUANTIZE:
        return name
    producer = producers.get(name)
    return producer.input[0] if producer is not None and producer.op_type == _QUANTIZE else name.removesuffix(_SUFFIX)


def _source(name: str, producers: dict[str, onnx.NodeProto]) -> str:
    producer = producers.get(name)
    return _tensor(producer, producers) if producer is not None and producer.op_type == _DEQUANTIZE else name
