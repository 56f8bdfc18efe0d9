"""Makes variants of a model that expose its intermediate tensors: as extra outputs, or as inputs."""

from __future__ import annotations

from itertools import starmap
from types import MappingProxyType
from typing import TYPE_CHECKING

import onnx
from onnx import helper

from hil.diagnose.graph import tensors_read_by

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

    import numpy as np
    import numpy.typing as npt

    from hil.diagnose.graph import Graph, Region

    Array = npt.NDArray[np.generic]

OWN = "/hil.own"
"""Suffix for the output name of a tensor that is also an input under its own name."""

RAW = "/hil.raw"
"""Suffix for the output of a DequantizeLinear if an Identity behind it makes the model's output."""


def marked(graph: Graph, names: Iterable[str], dtypes: Mapping[str, np.dtype[np.generic]]) -> onnx.ModelProto:
    """Return a copy of the model with the tensors ``names`` as further outputs; ``dtypes`` has their known dtypes."""
    made = onnx.ModelProto()
    made.CopyFrom(graph.model)
    present = set(graph.outputs)
    for name in dict.fromkeys(names):
        if name not in present:
            made.graph.output.append(_value(name, dtypes.get(name)))
    _insert_identities(made.graph)
    return made


def types_of(model: onnx.ModelProto) -> dict[str, np.dtype[np.generic]]:
    """Return the dtypes that ONNX can infer, by tensor; empty if the inference fails (e.g. the model is too large)."""
    try:
        inferred = onnx.shape_inference.infer_shapes(model)
    except (onnx.shape_inference.InferenceError, ValueError):
        return {}
    dtypes = {}
    for value in (*inferred.graph.value_info, *inferred.graph.output):
        if value.type.tensor_type.elem_type:
            dtypes[value.name] = helper.tensor_dtype_to_np_dtype(value.type.tensor_type.elem_type)
    return dtypes


def severed(
    graph: Graph,
    parts: Iterable[Region],
    feeds: Mapping[str, Array],
    side: str = "suspect",
    dtypes: Mapping[str, np.dtype[np.generic]] = MappingProxyType({}),
) -> onnx.ModelProto:
    """Return a model of only the nodes of ``parts``, in which no part gets a value from another part.

    ``graph`` is that of ``side``, "suspect" or "reference". Each tensor in ``feeds`` becomes an input. A part's tensor
    T is the output ``T + OWN`` if T is in ``feeds``, else the output T. ``dtypes`` has known dtypes of tensors that are
    not in ``feeds``.
    """
    chosen = list(parts)
    suspect = side == "suspect"
    made = [region.pair.suspect if suspect else region.pair.reference for region in chosen]
    numbers = sorted({number for region in chosen for number in (region.nodes if suspect else region.origin)})
    known = {**dtypes, **{name: array.dtype for name, array in feeds.items()}}
    return _only(graph, numbers, feeds, {name: known.get(name) for name in made})


def patched(graph: Graph, name: str, value: Array, outputs: Iterable[str] | None = None) -> onnx.ModelProto:
    """Return a copy of the model in which the tensor ``name`` is an input, not the result of a node.

    The input gets the shape and dtype of ``value``. Only the outputs named in ``outputs`` (all if ``None``) remain, and
    the nodes that they depend on.
    """
    made = onnx.ModelProto()
    made.CopyFrom(graph.model)
    for node in made.graph.node:
        node.output[:] = [output + OWN if output == name else output for output in node.output]
    if name not in {
        value.name for value in made.graph.input
    }:  # already an input if the model quantizes its input directly
        made.graph.input.append(_value(name, value.dtype, value.shape))
    remaining = set(graph.outputs if outputs is None else outputs)
    _filter(made.graph.output, lambda output: output.name in remaining)
    _prune(made, remaining)
    _insert_identities(made.graph)
    return made


def _only(
    graph: Graph, numbers: Iterable[int], feeds: Mapping[str, Array], made: Mapping[str, np.dtype[np.generic] | None]
) -> onnx.ModelProto:
    nodes = []
    for number in numbers:
        node = onnx.NodeProto()
        node.CopyFrom(graph.nodes[number])
        node.output[:] = [name + OWN if name in feeds and name in graph.makers else name for name in node.output]
        nodes.append(node)
    out = {name + OWN if name in feeds else name: dtype for name, dtype in made.items()}
    proto = graph.model
    ends = list(starmap(_value, out.items()))
    begins = [_value(name, array.dtype, array.shape) for name, array in feeds.items()]
    built = helper.make_graph(nodes, "severed", begins, ends, list(proto.graph.initializer))
    made_model = helper.make_model(built, opset_imports=list(proto.opset_import), functions=list(proto.functions))
    made_model.ir_version = proto.ir_version
    _prune(made_model, set(out))
    _insert_identities(made_model.graph)
    return made_model


def _insert_identities(graph: onnx.GraphProto) -> None:
    """Insert an Identity between each DequantizeLinear that makes a graph output and this output."""
    ends = {output.name for output in graph.output}
    nodes: list[onnx.NodeProto] = []
    for node in graph.node:
        node.input[:] = [source + RAW if source + RAW in ends else source for source in node.input]
        nodes.append(node)
        if node.op_type == "DequantizeLinear" and node.output[0] in ends:
            # Other nodes still read the DequantizeLinear directly, so that it is fused with them as before.
            name = node.output[0]
            node.output[0] = name + RAW
            ends.add(name + RAW)
            nodes.append(helper.make_node("Identity", [name + RAW], [name], name=name + "/hil.seen"))
    copies = [onnx.NodeProto.FromString(node.SerializeToString()) for node in nodes]
    del graph.node[:]
    graph.node.extend(copies)


def _prune(model: onnx.ModelProto, outputs: set[str]) -> None:
    """Remove the nodes, initializers and inputs that ``outputs`` do not depend on."""
    graph = model.graph
    needed, used = set(outputs), []
    for node in reversed(graph.node):
        if any(name in needed for name in node.output):
            used.append(node)
            needed.update(tensors_read_by(node))
    nodes = list(reversed(used))
    _filter(graph.initializer, lambda tensor: tensor.name in needed)
    _filter(graph.input, lambda value: value.name in needed)
    del graph.value_info[:]
    del graph.node[:]
    graph.node.extend(nodes)


def _filter(field: object, predicate: Callable[[onnx.TensorProto], bool]) -> None:
    """Remove from ``field``, a repeated field of a protobuf message, the entries that do not satisfy ``predicate``."""
    repeated: list[onnx.TensorProto] = field  # type: ignore[assignment]  # protobuf's lists have no common type
    copies = []
    for entry in repeated:
        if not predicate(entry):
            continue
        copy = type(entry)()
        copy.CopyFrom(entry)
        copies.append(copy)
    del repeated[:]
    repeated.extend(copies)


def _value(name: str, dtype: np.dtype[np.generic] | None, shape: tuple[int, ...] | None = None) -> onnx.ValueInfoProto:
    if dtype is None:
        value = onnx.ValueInfoProto()
        value.name = name
        return value
    return helper.make_tensor_value_info(name, helper.np_dtype_to_tensor_dtype(dtype), shape)
