"""Read a model for the rules: its nodes at any depth, constants, and the types and shapes of its tensors."""

from __future__ import annotations

import math
from collections import defaultdict
from dataclasses import dataclass, field
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np
import onnx
from onnx import numpy_helper

from hil.onnx_files.operators import with_inner

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator, Mapping
    from pathlib import Path

    import numpy.typing as npt

    from hil.onnx_files.signature import Interval, Signature

SMALL = 1024
"""Elements: larger constants are weights, whose values shape inference does not need."""

UNREADABLE = (OSError, ValueError, TypeError, KeyError, RuntimeError, MemoryError, onnx.checker.ValidationError)
"""What onnx raises for a constant whose type, size or file is wrong."""

Shape = tuple[int | None, ...]


@dataclass(frozen=True)
class Graph:
    """A model that was read; tensors are named as in the file, whose names are unique across bodies.

    Attributes:
        path: the ONNX file.
        proto: the file's content, without external weights.
        signature: inputs and outputs with what ``hil.toml`` declares about them.
        nodes: all nodes, those of bodies (``If``, ``Loop``, ``Scan``) and of local functions included.
        constants: initializers and the values of ``Constant`` nodes.
        types: the element type of each tensor of the main graph (``TensorProto.DataType``), as far as inferred.
        shapes: the shape of each tensor of the main graph, as far as inferred; dynamic dimensions have their largest
            size.
    """

    path: Path
    proto: onnx.ModelProto
    signature: Signature
    nodes: tuple[onnx.NodeProto, ...]
    constants: Mapping[str, onnx.TensorProto]
    types: Mapping[str, int] = field(default_factory=dict)
    shapes: Mapping[str, Shape] = field(default_factory=dict)

    @cached_property
    def makers(self) -> dict[str, onnx.NodeProto]:
        """The node that makes each tensor."""
        return {name: node for node in self.nodes for name in node.output if name}

    @cached_property
    def readers(self) -> dict[str, list[tuple[onnx.NodeProto, int]]]:
        """The nodes that read each tensor, each with the number of its input."""
        readers = defaultdict(list)
        for node in self.nodes:
            for number, name in enumerate(node.input):
                readers[name].append((node, number))
        return readers

    @property
    def functions(self) -> frozenset[tuple[str, str]]:
        """Domain and name of each local function."""
        return frozenset((one.domain, one.name) for one in self.proto.functions)

    def values(self, name: str) -> npt.NDArray[Any] | None:
        """Return the values of a constant, also from an external file; ``None`` if it is not constant or unreadable."""
        tensor = self.constants.get(name)
        if tensor is None:
            return None
        try:
            return np.asarray(numpy_helper.to_array(tensor, base_dir=str(self.path.parent)))
        except UNREADABLE:
            return None  # damaged or missing: the rules on files report that

    def before(self, name: str, passed: Collection[str]) -> onnx.NodeProto | None:
        """Follow ``name`` back over nodes with operators in ``passed``, by their first input; return the farthest node.

        Return ``None`` if no such node makes ``name``.
        """
        first, visited = None, set()
        while (maker := self.makers.get(name)) is not None and maker.op_type in passed and maker.input:
            if name in visited:
                return None
            visited.add(name)
            first, name = maker, maker.input[0]
        return first

    def rank(self, name: str) -> int | None:
        """Return the rank of a tensor; ``None`` if unknown."""
        if name in self.constants:
            return len(self.constants[name].dims)
        return len(self.shapes[name]) if name in self.shapes else None


def integer(node: onnx.NodeProto, name: str, default: int) -> int:
    """Return the value of an attribute of ``node``, or ``default`` if it has no such attribute that is an integer."""
    return next((int(one.i) for one in node.attribute if one.name == name and one.type == one.INT), default)


def read_graph(path: Path, proto: onnx.ModelProto, signature: Signature, sizes: Mapping[str, Interval]) -> Graph:
    """Return ``proto``, the content of the file ``path``, prepared for the rules.

    ``sizes`` are ``(min, opt, max)`` of dynamic dimensions by name; the largest are used.
    """
    functions = (node for function in proto.functions for node in function.node)
    everything = tuple(with_inner([*proto.graph.node, *functions]))
    constants = dict(_constants(everything))
    for graph in _graphs(proto.graph, everything):
        constants |= {tensor.name: tensor for tensor in graph.initializer}
    types, shapes = _inferred(proto, signature, {name: size[2] for name, size in sizes.items()})
    return Graph(path, proto, signature, everything, constants, types, shapes)


def _graphs(main: onnx.GraphProto, nodes: tuple[onnx.NodeProto, ...]) -> Iterator[onnx.GraphProto]:
    yield main
    for node in nodes:
        for one in node.attribute:
            yield from (graph for graph in (one.g, *one.graphs) if graph.node or graph.initializer)


def _constants(nodes: tuple[onnx.NodeProto, ...]) -> Iterator[tuple[str, onnx.TensorProto]]:
    for node in nodes:
        if node.op_type == "Constant" and node.output:
            for one in node.attribute:
                if one.name == "value" and one.HasField("t"):
                    yield node.output[0], one.t
                elif one.name in {"value_int", "value_ints"}:
                    yield node.output[0], numpy_helper.from_array(np.array([*one.ints] or one.i, np.int64))
                elif one.name in {"value_float", "value_floats"}:
                    yield node.output[0], numpy_helper.from_array(np.array([*one.floats] or one.f, np.float32))


def _inferred(
    proto: onnx.ModelProto, signature: Signature, largest: Mapping[str, int]
) -> tuple[dict[str, int], dict[str, Shape]]:
    """Return types and shapes of the main graph's tensors, as far as they can be inferred."""
    graph = onnx.GraphProto(name="inferred", node=proto.graph.node, output=[])
    declared = {one.name: one for one in signature.inputs}
    for tensor in proto.graph.initializer:
        if math.prod(tensor.dims) <= SMALL and tensor.data_location != tensor.EXTERNAL:
            graph.initializer.append(tensor)
        else:
            graph.input.append(onnx.helper.make_tensor_value_info(tensor.name, tensor.data_type, tensor.dims))
    weights = {one.name for one in (*graph.initializer, *graph.input)}
    for value in proto.graph.input:
        if value.name not in weights:
            known = declared.get(value.name)
            sizes = () if known is None else tuple(largest.get(s, s) if isinstance(s, str) else s for s in known.shape)
            tensor_type = value.type.tensor_type
            shaped = known is not None and (tensor_type.HasField("shape") or known.shape)
            graph.input.append(
                onnx.helper.make_tensor_value_info(value.name, tensor_type.elem_type, list(sizes) if shaped else None)
            )
    graph.output.extend(onnx.ValueInfoProto(name=value.name) for value in proto.graph.output)
    model = onnx.ModelProto(ir_version=proto.ir_version, graph=graph)
    model.opset_import.extend(proto.opset_import)
    model.functions.extend(proto.functions)
    try:
        inferred = onnx.shape_inference.infer_shapes(model, data_prop=True).graph
    except Exception:  # noqa: BLE001 - the checker reports what is wrong with the file; here it is only unknown
        inferred = graph
    types = {tensor.name: tensor.data_type for tensor in proto.graph.initializer}
    shapes: dict[str, Shape] = {tensor.name: tuple(tensor.dims) for tensor in proto.graph.initializer}
    for value in (*inferred.input, *inferred.value_info, *inferred.output):
        tensor_type = value.type.tensor_type
        if tensor_type.elem_type:
            types[value.name] = tensor_type.elem_type
        if tensor_type.HasField("shape"):
            shapes[value.name] = tuple(
                int(size.dim_value) if size.HasField("dim_value") else None for size in tensor_type.shape.dim
            )
    return types, shapes


def has_broken_text(message: Any) -> bool:
    """Return whether a text in a model is not UTF-8, so that protobuf returns it as bytes; weights are not read."""
    for kind, value in message.ListFields():
        if kind.type == kind.TYPE_STRING:
            if any(isinstance(text, bytes) for text in ([value] if isinstance(value, (str, bytes)) else value)):
                return True
        elif kind.message_type is not None:
            for inner in [value] if hasattr(value, "DESCRIPTOR") else value:
                if has_broken_text(inner):
                    return True
    return False
