"""Variants of a model by which its inside is seen: intermediates marked as outputs, or fed from outside."""

from __future__ import annotations

from typing import TYPE_CHECKING

import onnx
from onnx import helper

from hil.diagnose.graph import taken

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

    import numpy as np
    import numpy.typing as npt

    from hil.diagnose.graph import Graph, Region

    Array = npt.NDArray[np.generic]

OWN = "/hil.own"
"""Ends the name under which a cut tensor is given out; under its own name it is fed."""

RAW = "/hil.raw"
"""Ends the name of what a DequantizeLinear gives whose tensor is given out."""


def marked(graph: Graph, names: Iterable[str], dtypes: Mapping[str, np.dtype[np.generic]]) -> onnx.ModelProto:
    """The model with ``names`` as outputs too, behind its own ones; ``dtypes`` as far as they are known."""
    made = onnx.ModelProto()
    made.CopyFrom(graph.model)
    there = set(graph.outputs)
    for name in dict.fromkeys(names):
        if name not in there:
            made.graph.output.append(_value(name, dtypes.get(name)))
    _stand_before_outputs(made.graph)
    return made


def types_of(model: onnx.ModelProto) -> dict[str, np.dtype[np.generic]]:
    """Dtypes of the tensors that ONNX's own inference can tell; a model too large for it gives none."""
    try:
        inferred = onnx.shape_inference.infer_shapes(model)
    except (onnx.shape_inference.InferenceError, ValueError):
        return {}
    found = {}
    for value in (*inferred.graph.value_info, *inferred.graph.output):
        if value.type.tensor_type.elem_type:
            found[value.name] = helper.tensor_dtype_to_np_dtype(value.type.tensor_type.elem_type)
    return found


def severed(
    graph: Graph, parts: Iterable[Region], feeds: Mapping[str, Array], side: str = "suspect"
) -> onnx.ModelProto:
    """Only the nodes of ``parts``, each part fed by itself: what it takes is an input, what it makes an output.

    ``feeds`` has an array for every tensor that is cut or fed, whose shape and dtype the input gets. ``side`` says
    whose nodes: the suspect's or the reference's, whose names are then meant. The output of tensor T is ``T + OWN``.
    """
    chosen = list(parts)
    suspect = side == "suspect"
    made = [region.pair.suspect if suspect else region.pair.reference for region in chosen]
    numbers = sorted({number for region in chosen for number in (region.nodes if suspect else region.origin)})
    return _only(graph, numbers, feeds, dict.fromkeys(made))


def patched(graph: Graph, name: str, value: Array, outputs: Iterable[str] | None = None) -> onnx.ModelProto:
    """The whole model with tensor ``name`` fed from outside, in the place of what its own nodes make of it.

    ``outputs`` are those to keep, all if not given; ``value`` gives the input's shape and dtype.
    """
    made = onnx.ModelProto()
    made.CopyFrom(graph.model)
    for node in made.graph.node:
        node.output[:] = [each + OWN if each == name else each for each in node.output]
    if name not in {one.name for one in made.graph.input}:  # of an input that is quantized, what is fed anyway
        made.graph.input.append(_value(name, value.dtype, value.shape))
    wanted = set(graph.outputs if outputs is None else outputs)
    _keep(made.graph.output, lambda one: one.name in wanted)
    _prune(made, wanted)
    _stand_before_outputs(made.graph)
    return made


def _only(
    graph: Graph, numbers: Iterable[int], feeds: Mapping[str, Array], made: Mapping[str, None]
) -> onnx.ModelProto:
    nodes = []
    for number in numbers:
        node = onnx.NodeProto()
        node.CopyFrom(graph.nodes[number])
        node.output[:] = [name + OWN if name in feeds and name in graph.makers else name for name in node.output]
        nodes.append(node)
    out = [name + OWN if name in feeds else name for name in made]
    proto = graph.model
    ends = [_value(new, feeds[old].dtype if old in feeds else None) for old, new in zip(made, out, strict=True)]
    begins = [_value(name, array.dtype, array.shape) for name, array in feeds.items()]
    built = helper.make_graph(nodes, "severed", begins, ends, list(proto.graph.initializer))
    made_model = helper.make_model(built, opset_imports=list(proto.opset_import), functions=list(proto.functions))
    made_model.ir_version = proto.ir_version
    _prune(made_model, set(out))
    _stand_before_outputs(made_model.graph)
    return made_model


def _stand_before_outputs(graph: onnx.GraphProto) -> None:
    """An Identity between each DequantizeLinear and the output that it gives, past its readers.

    TensorRT 8.6 fails with an internal error where such a node gives an output itself. Its readers go on reading it
    directly, so that it is fused with them as before.
    """
    ends = {one.name for one in graph.output}
    nodes: list[onnx.NodeProto] = []
    for node in graph.node:
        node.input[:] = [each + RAW if each + RAW in ends else each for each in node.input]
        nodes.append(node)
        if node.op_type == "DequantizeLinear" and node.output[0] in ends:
            name = node.output[0]
            node.output[0] = name + RAW
            ends.add(name + RAW)
            nodes.append(helper.make_node("Identity", [name + RAW], [name], name=name + "/hil.seen"))
    copies = [onnx.NodeProto.FromString(node.SerializeToString()) for node in nodes]
    del graph.node[:]
    graph.node.extend(copies)


def _prune(model: onnx.ModelProto, wanted: set[str]) -> None:
    """Takes out what ``wanted`` does not need: nodes, initializers, and inputs that nobody reads."""
    graph = model.graph
    needed, kept = set(wanted), []
    for node in reversed(graph.node):
        if any(name in needed for name in node.output):
            kept.append(node)
            needed.update(taken(node))
    nodes = list(reversed(kept))
    _keep(graph.initializer, lambda one: one.name in needed)
    _keep(graph.input, lambda one: one.name in needed)
    del graph.value_info[:]
    del graph.node[:]
    graph.node.extend(nodes)


def _keep(field: object, wanted: Callable[[onnx.TensorProto], bool]) -> None:
    repeated: list[onnx.TensorProto] = field  # type: ignore[assignment]  # protobuf's lists have no common type
    kept = [one for one in repeated if wanted(one)]
    copies = []
    for one in kept:
        copy = type(one)()
        copy.CopyFrom(one)
        copies.append(copy)
    del repeated[:]
    repeated.extend(copies)


def _value(name: str, dtype: np.dtype[np.generic] | None, shape: tuple[int, ...] | None = None) -> onnx.ValueInfoProto:
    if dtype is None:
        value = onnx.ValueInfoProto()
        value.name = name
        return value
    return helper.make_tensor_value_info(name, helper.np_dtype_to_tensor_dtype(dtype), shape)
