"""Reading, editing and running ONNX graphs."""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import onnx
import onnxruntime
from onnx import helper, numpy_helper

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from numpy.typing import NDArray

    Arrays = Mapping[str, NDArray[Any]]
    Step = tuple[str, Sequence[Any], Mapping[str, Any]]
    Make = Callable[[onnx.ModelProto, str, str], list[onnx.NodeProto]]

BATCH = 16
LAYERS = ("Conv", "ConvTranspose", "MatMul", "Gemm")
SMALLEST = 64
"""Number of elements from which an initializer counts as the weights of a layer."""


def copied(model: onnx.ModelProto) -> onnx.ModelProto:
    """Return a copy of ``model``."""
    made = onnx.ModelProto()
    made.CopyFrom(model)
    return made


def simplified(model: onnx.ModelProto) -> onnx.ModelProto:
    """Return ``model`` with its ``Constant`` nodes as initializers and without ``Identity`` nodes."""
    made = copied(model)
    outputs, aliases, nodes = {one.name for one in made.graph.output}, dict[str, str](), []
    for node in made.graph.node:
        if node.op_type == "Constant" and node.attribute[0].name == "value":
            tensor = made.graph.initializer.add()
            tensor.CopyFrom(node.attribute[0].t)
            tensor.name = node.output[0]
        elif node.op_type == "Identity" and node.output[0] not in outputs:
            aliases[node.output[0]] = aliases.get(node.input[0], node.input[0])
        else:
            nodes.append(node)
    for node in nodes:
        rename_inputs(node, aliases)
    replace_nodes(made, nodes)
    return made


def ends(model: onnx.ModelProto, first: float, last: float) -> tuple[str, ...]:
    """Return the names of the nodes up to the end of the first layers and from the start of the last layers.

    ``first`` and ``last`` are shares of all layers.
    """
    places = [place for place, *_ in layers(model)]
    names = [node.name for node in model.graph.node]
    head, tail = (max(1, round(share * len(places))) if share else 0 for share in (first, last))
    early = names[: places[head - 1] + 1] if head else []
    return (*early, *(names[places[-tail] :] if tail else []))


def rename_inputs(node: onnx.NodeProto, names: Mapping[str, str]) -> None:
    """Rename inputs of ``node``, and the same tensors in its subgraphs."""
    node.input[:] = [names.get(one, one) for one in node.input]
    for attribute in node.attribute:
        for inner in attribute.g.node:
            rename_inputs(inner, names)


def replace_nodes(model: onnx.ModelProto, nodes: Sequence[onnx.NodeProto]) -> None:
    """Replace all nodes of the graph."""
    kept = [onnx.NodeProto.FromString(node.SerializeToString()) for node in nodes]
    del model.graph.node[:]
    model.graph.node.extend(kept)


def names_nodes(model: onnx.ModelProto) -> None:
    """Give each node a unique name that ONNX Runtime does not give to nodes of its own (``Reshape_308``)."""
    for number, node in enumerate(model.graph.node):
        node.name = f"{node.op_type}.{number}"


def constant(model: onnx.ModelProto, name: str, values: Any) -> str:
    """Add an initializer, and return its name."""
    model.graph.initializer.append(numpy_helper.from_array(np.asarray(values), name))
    return name


def weights(model: onnx.ModelProto) -> dict[str, NDArray[Any]]:
    """Return the float initializers that hold the weights of layers, in the order of the graph."""
    return {
        tensor.name: numpy_helper.to_array(tensor)
        for tensor in model.graph.initializer
        if tensor.data_type == onnx.TensorProto.FLOAT and len(tensor.dims) >= 2 and np.prod(tensor.dims) >= SMALLEST
    }


def with_weights(model: onnx.ModelProto, values: Arrays) -> onnx.ModelProto:
    """Return ``model`` with other values in the named float initializers."""
    made = copied(model)
    for tensor in made.graph.initializer:
        if tensor.name in values:
            tensor.CopyFrom(numpy_helper.from_array(values[tensor.name].astype(np.float32), tensor.name))
    return made


def layers(model: onnx.ModelProto, kinds: Sequence[str] = LAYERS) -> list[tuple[int, onnx.NodeProto, NDArray[Any]]]:
    """Return place, node and weight of each node of ``kinds`` whose second input is a weight."""
    known = weights(model)
    return [
        (place, node, known[node.input[1]])
        for place, node in enumerate(model.graph.node)
        if node.op_type in kinds and len(node.input) > 1 and node.input[1] in known
    ]


def before(model: onnx.ModelProto, name: str, make: Make) -> onnx.ModelProto:
    """Return ``model`` with the nodes of ``make(model, source, result)`` between input ``name`` and its readers."""
    made = copied(model)
    result = f"{name}.{len(made.graph.node)}"  # another one if this is done twice
    for node in made.graph.node:
        rename_inputs(node, {name: result})
    replace_nodes(made, [*make(made, name, result), *made.graph.node])
    return made


def after(model: onnx.ModelProto, name: str, make: Make) -> onnx.ModelProto:
    """Return ``model`` with the nodes of ``make(model, source, result)`` after tensor ``name``, under its name."""
    made = copied(model)
    nodes = []
    for node in made.graph.node:
        node.output[:] = [f"{name}.raw" if one == name else one for one in node.output]
        nodes.append(node)
        if f"{name}.raw" in node.output:
            nodes += make(made, f"{name}.raw", name)
    replace_nodes(made, nodes)
    return made


def applied(model: onnx.ModelProto, name: str, *steps: Step) -> onnx.ModelProto:
    """Return ``model`` with the operators ``steps`` after ``name``, a tensor or an input of the graph.

    A step is an operator, its constant inputs after the first input, and its attributes.
    """

    def make(made: onnx.ModelProto, source: str, result: str) -> list[onnx.NodeProto]:
        nodes = []
        for place, (kind, constants, attributes) in enumerate(steps, 1):
            output = f"{result}.{place}" if place < len(steps) else result
            names = [constant(made, f"{result}.{place}.{n}", values) for n, values in enumerate(constants)]
            nodes.append(node(kind, [source, *names], output, **attributes))
            source = output
        return nodes

    return (before if name in {one.name for one in model.graph.input} else after)(model, name, make)


def linear(factor: Any, offset: Any) -> list[Step]:
    """Return the steps that multiply by ``factor`` and add ``offset``."""
    return [("Mul", [np.asarray(factor, np.float32)], {}), ("Add", [np.asarray(offset, np.float32)], {})]


def ordered(indices: Any, axis: int) -> Step:
    """Return the step that permutes the places along ``axis``."""
    return "Gather", [np.asarray(indices, np.int64)], {"axis": axis}


def node(kind: str, inputs: Sequence[str], output: str, **attributes: Any) -> onnx.NodeProto:
    """Return a node that is named like its output."""
    return helper.make_node(kind, list(inputs), [output], name=f"{output}.node", **attributes)


def optimized(model: onnx.ModelProto, level: str) -> onnx.ModelProto:
    """Return ``model`` as ONNX Runtime rewrites it at ``level``: BASIC, EXTENDED or ALL."""
    with tempfile.TemporaryDirectory() as folder:
        options = onnxruntime.SessionOptions()
        options.log_severity_level = 4
        options.graph_optimization_level = getattr(onnxruntime.GraphOptimizationLevel, f"ORT_ENABLE_{level}")
        options.optimized_model_filepath = str(Path(folder, "optimized.onnx"))
        onnxruntime.InferenceSession(model.SerializeToString(), options, providers=["CPUExecutionProvider"])
        return onnx.load(options.optimized_model_filepath)


def session(model: onnx.ModelProto | str) -> Any:
    """Return a session on one thread."""
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads, options.log_severity_level = 1, 4
    source = model if isinstance(model, str) else model.SerializeToString()
    return onnxruntime.InferenceSession(source, options, providers=["CPUExecutionProvider"])


def run(model: onnx.ModelProto, arrays: Arrays, extra: Sequence[str] = ()) -> dict[str, NDArray[Any]]:
    """Return the outputs for all samples, and the tensors ``extra``; raise what ONNX Runtime raises."""
    if extra:
        model = copied(model)
        model.graph.output.extend(helper.make_empty_tensor_value_info(name) for name in extra)
    opened = session(model)
    names = [one.name for one in opened.get_outputs()]
    parts: dict[str, list[NDArray[Any]]] = {name: [] for name in names}
    for first in range(0, len(next(iter(arrays.values()))), BATCH):
        feed = {name: array[first : first + BATCH] for name, array in arrays.items()}
        for name, made in zip(names, opened.run(None, feed), strict=True):
            parts[name].append(made)
    return {name: np.concatenate(made) for name, made in parts.items()}
