"""Find the Q and DQ nodes before each convolution and matrix product of an ONNX graph."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

from hil.onnx_files.multiply_adds import infer, multiply_adds
from hil.onnx_files.operators import with_inner
from hil.onnx_files.precisions import FLOATS, WEIGHTED, Precisions, QuantizedTensor, WeightedNode

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from pathlib import Path

    import onnx

_NATIVE = {"QLinearConv": "int8", "QLinearMatMul": "int8", "ConvInteger": "int8", "MatMulInteger": "int8"}
_QUANTIZE = {
    "QuantizeLinear": "",
    "TRT_FP8QuantizeLinear": "float8_e4m3fn",
    "TRT_INT4QuantizeLinear": "int4",
    "TRT_MXFP8QuantizeLinear": "float8_e4m3fn",
    "TRT_MXFP8DynamicQuantize": "float8_e4m3fn",
    "TRT_FP4DynamicQuantize": "float4_e2m1fn",
}
"""Operators that quantize, with the type of their results (empty: it varies). ModelOpt and TensorRT's parser define
those that begin with ``TRT_``."""
_SCALES = {"TRT_MXFP8DynamicQuantize": "float8_e8m0fnu", "TRT_FP4DynamicQuantize": "float8_e4m3fn"}
_DEQUANTIZE = {
    "DequantizeLinear": "",
    "TRT_FP8DequantizeLinear": "float8_e4m3fn",
    "TRT_INT4DequantizeLinear": "int4",
    "TRT_MXFP8DequantizeLinear": "float8_e4m3fn",
    "TRT_FP4QDQ": "float4_e2m1fn",
}
_PASSING = ("Transpose", "Reshape", "Squeeze", "Unsqueeze", "Flatten", "Identity", "Cast", "MaxPool")
"""Operators over which TensorRT moves a Q or DQ node, because they only select or reorder values."""
_SUFFIX = "_quantized"  # onnxruntime.quantization appends this to the name of a weight stored as INT8
_TYPES = {
    "FLOAT": "float32",
    "DOUBLE": "float64",
    "FLOAT8E4M3FN": "float8_e4m3fn",
    "FLOAT8E5M2": "float8_e5m2",
    "FLOAT8E8M0": "float8_e8m0fnu",
    "FLOAT4E2M1": "float4_e2m1fn",
}
_FED = 2  # inputs of a weighted node that count: activation and weight; a bias may stay in float


def read_precisions(path: Path, sizes: Mapping[str, int] | None = None, batch: int = 1) -> Precisions:
    """Return what the ONNX file at ``path`` declares; external weights are not read.

    ``sizes`` has the sizes of dynamic dimensions, by name or as ``input[axis]``. If missing, a
    first dimension has size ``batch``.
    """
    import onnx

    return precisions_of(onnx.load(str(path), load_external_data=False), sizes, batch)


def precisions_of(model: onnx.ModelProto, sizes: Mapping[str, int] | None = None, batch: int = 1) -> Precisions:
    """Return what a model in memory declares, as ``read_precisions``. The model is not changed."""
    graph = _Graph(_inlined(model))
    # Scales that are themselves quantized are not tensors of the model.
    scales = {name for node in graph.dequantize() for name in graph.scales_of(node)}
    tensors = [graph.quantized(node) for node in graph.dequantize() if node.output[0] not in scales]
    weighted = [(node, graph.weighted(node)) for node in graph.nodes if graph.is_weighted(node)]
    types = infer(graph.model, sizes or {}, batch, {*_QUANTIZE, *_DEQUANTIZE}, graph.shapes)
    nodes = tuple(_measured(node, found, types, graph) for node, found in weighted)
    return Precisions(nodes, tuple({one.name: one for one in tensors}.values()))


def _measured(node: onnx.NodeProto, found: WeightedNode, types: Mapping[str, str], graph: _Graph) -> WeightedNode:
    """Return ``found`` with the node's dtype and multiply-adds."""
    read = (types.get(name) or graph.types.get(name, "") for name in (*node.input[:_FED], *node.output))
    dtype = next((one for one in read if one in FLOATS), "")
    return replace(found, dtype=dtype, multiply_adds=multiply_adds(node, graph.shapes))


def _inlined(model: onnx.ModelProto) -> onnx.ModelProto:
    """Return a copy of the model without its functions, except those of ModelOpt, which are operators of TensorRT."""
    import onnx.inliner

    copy = type(model)()
    copy.CopyFrom(model)
    if not model.functions:
        return copy
    named = [(function.domain, function.name) for function in model.functions]
    quantizers = [one for one in named if one[1] in {*_QUANTIZE, *_DEQUANTIZE}]
    return onnx.inliner.inline_selected_functions(copy, quantizers, exclude=True)


@dataclass
class _Graph:
    """The nodes of all graphs of a model, by their outputs."""

    model: onnx.ModelProto
    types: dict[str, str] = field(default_factory=dict)
    shapes: dict[str, tuple[int, ...]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.nodes = list(with_inner(self.model.graph.node))
        self.producers = {output: node for node in self.nodes for output in node.output}
        self.stored = {tensor.name: tensor for graph in _graphs(self.model.graph) for tensor in graph.initializer}
        for node in self.nodes:
            if node.op_type == "Constant" and node.attribute and node.attribute[0].name == "value":
                self.stored[node.output[0]] = node.attribute[0].t
        self.constants = set(self.stored)
        for node in self.nodes:  # in topological order
            if node.input and all(name in self.constants for name in node.input if name):
                self.constants.update(node.output)
        for name, tensor in self.stored.items():
            self.types[name], self.shapes[name] = _type_name(tensor.data_type), tuple(tensor.dims)

    def dequantize(self) -> Iterator[onnx.NodeProto]:
        """Yield the DQ nodes."""
        return (node for node in self.nodes if node.op_type in _DEQUANTIZE)

    def is_weighted(self, node: onnx.NodeProto) -> bool:
        """Return whether ``node`` is a convolution or matrix product of values that vary at run time."""
        known = node.op_type in WEIGHTED or node.op_type in _NATIVE
        return known and not all(name in self.constants for name in node.input[:_FED])

    def weighted(self, node: onnx.NodeProto) -> WeightedNode:
        """Return ``node`` with how its inputs are quantized; its ``dtype`` and ``multiply_adds`` are not set."""
        if node.op_type in _NATIVE:
            return WeightedNode(node.name, node.op_type, "", native=_NATIVE[node.op_type])
        first, second = (self._traced(name) for name in node.input[:_FED])
        return WeightedNode(node.name, node.op_type, "", first, second)

    def _source(self, name: str) -> onnx.NodeProto | None:
        """Return the node that computes the values of ``name``, skipping operators that only reorder them.

        Return ``None`` if there is no such node.
        """
        passed = set[str]()
        while (node := self.producers.get(name)) is not None and node.op_type in _PASSING and node.input:
            if name in passed:
                return None
            passed.add(name)
            name = node.input[0]
        return node

    def _traced(self, name: str) -> QuantizedTensor | None:
        node = self._source(name)
        return self.quantized(node) if node is not None and node.op_type in _DEQUANTIZE else None

    def scales_of(self, node: onnx.NodeProto) -> Iterator[str]:
        """Yield the outputs of the DQ node that restores the scales of the Q or DQ node ``node``, if there is one."""
        inner = self._source(node.input[1]) if len(node.input) > 1 else None
        if inner is not None and inner.op_type in _DEQUANTIZE:
            yield from inner.output

    def quantized(self, node: onnx.NodeProto) -> QuantizedTensor:
        """Return the tensor that the DQ node ``node`` restores."""
        data, scale = node.input[0], node.input[1] if len(node.input) > 1 else ""
        quantizer = self._source(data)
        if quantizer is not None and quantizer.op_type not in _QUANTIZE:
            quantizer = None
        dtype = _DEQUANTIZE[node.op_type] or self._stored_type(data, quantizer)
        inner = self._source(scale)
        kind, nested = self.types.get(scale, ""), ""
        if inner is not None and inner.op_type in _DEQUANTIZE:
            kind, nested = self._stored_type(inner.input[0], self._source(inner.input[0])), self._type(inner.input[1])
        elif not kind:
            kind = self._stored_type(scale, inner)
        if node.op_type == "TRT_MXFP8DequantizeLinear" and kind in {"", "uint8"}:  # exponents, stored as bytes
            kind = "float8_e8m0fnu"
        sizes = [_attributes(one) for one in (node, quantizer) if one is not None]
        block = next((int(one["block_size"]) for one in sizes if one.get("block_size")), 0)
        single = scale in self.shapes and not self.shapes[scale] and not block
        name = quantizer.input[0] if quantizer is not None else data.removesuffix(_SUFFIX)
        return QuantizedTensor(
            name=name,
            dtype=dtype,
            scale=kind,
            block=block,
            axis=None if single else int(sizes[0].get("axis", 1)),
            nested=nested,
            constant=(name if quantizer is not None else data) in self.constants,
            dynamic=scale not in self.constants,
            shifted=self._shifted(node),
        )

    def _type(self, name: str) -> str:
        return self.types.get(name, "")

    def _stored_type(self, name: str, quantizer: onnx.NodeProto | None) -> str:
        """Return the type of the quantized values ``name``, which ``quantizer`` computes unless they are stored."""
        if name in self.types:
            return self.types[name]
        if quantizer is None or quantizer.op_type not in _QUANTIZE:
            return ""
        if name in quantizer.output[1:]:
            return _SCALES.get(quantizer.op_type, "")
        if _QUANTIZE[quantizer.op_type]:
            return _QUANTIZE[quantizer.op_type]
        given = _attributes(quantizer).get("output_dtype")
        zero = quantizer.input[_FED] if len(quantizer.input) > _FED else ""
        return _type_name(given) if given else self.types.get(zero, "uint8")  # ONNX: uint8 without a zero point

    def _shifted(self, node: onnx.NodeProto) -> bool:
        from onnx import numpy_helper

        zero = node.input[_FED] if len(node.input) > _FED else ""
        if zero not in self.stored or self.stored[zero].external_data:
            return False
        return bool((numpy_helper.to_array(self.stored[zero]).astype("float32") != 0).any())


def _graphs(graph: onnx.GraphProto) -> Iterator[onnx.GraphProto]:
    yield graph
    for node in graph.node:
        for attribute in node.attribute:
            for inner in (attribute.g, *attribute.graphs):
                if inner.node:
                    yield from _graphs(inner)


def _attributes(node: onnx.NodeProto) -> dict[str, Any]:
    return {one.name: one.i for one in node.attribute}


def _type_name(number: int) -> str:
    """Return ml_dtypes' name of a type of ``onnx.TensorProto``."""
    import onnx

    name = str(onnx.TensorProto.DataType.Name(number))
    return _TYPES.get(name, name.lower())
