"""Faults within one step: each edits the graph, and the node or the state that must be named is known."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
from onnx import TensorProto, numpy_helper

from benchmarks.accuracy import graphs
from benchmarks.sequences.planted import Planted, range_of, state_of
from benchmarks.sequences.sound import GATES

if TYPE_CHECKING:
    from collections.abc import Mapping

    import onnx

    from benchmarks.sequences.models import Recurrent
    from benchmarks.sequences.runner import Array

    Rng = np.random.Generator


def rounded(model: Recurrent, rng: Rng) -> Planted:
    """Round one state to a few values over its range, within the graph."""
    only, bits = state_of(model, rng), int(rng.integers(2, 4))
    unit = np.float32(range_of(model, only, rng) / 2**bits)

    def make(made: onnx.ModelProto, source: str, result: str) -> list[onnx.NodeProto]:
        name = graphs.constant(made, f"{result}.unit", unit)
        steps = (("Div", [source, name], f"{result}.scaled"), ("Round", [f"{result}.scaled"], f"{result}.rounded"))
        nodes = [graphs.node(kind, given, output) for kind, given, output in steps]
        return [*nodes, graphs.node("Mul", [f"{result}.rounded", name], result)]

    graph = graphs.after(model.model, model.states[only], make)
    return Planted(f"{only} rounded to {bits} bits", graph=graph, cause=f"the state '{only}' (has|had) only")


def clipped_inside(model: Recurrent, rng: Rng) -> Planted:
    """Clip one state within the graph, at a range that its first steps stay within."""
    only = state_of(model, rng)
    span = np.float32(range_of(model, only, rng, steps=int(rng.integers(20, 60))))

    def make(made: onnx.ModelProto, source: str, result: str) -> list[onnx.NodeProto]:
        limits = [graphs.constant(made, f"{result}.{key}", one) for key, one in (("low", -span), ("high", span))]
        return [graphs.node("Clip", [source, *limits], result)]

    graph = graphs.after(model.model, model.states[only], make)
    cause = f"state '{only}' clips (at|to) "
    return Planted(f"{only} clipped at {span:.2f} in the graph", graph=graph, cause=cause)


def _weights_of(model: Recurrent) -> tuple[onnx.ModelProto, onnx.NodeProto | None, Mapping[str, Any]]:
    made = graphs.copied(model.model)
    node = next((one for one in made.graph.node if one.op_type in GATES), None)
    return made, node, {one.name: one for one in made.graph.initializer}


def _set(tensor: onnx.TensorProto, values: Array) -> None:
    tensor.CopyFrom(numpy_helper.from_array(np.ascontiguousarray(values, np.float32), tensor.name))


def gate_order(model: Recurrent, rng: Rng) -> Planted | None:
    """Put the gates of ONNX's operator into another framework's order."""
    made, node, known = _weights_of(model)
    if node is None:
        return None
    count = GATES[node.op_type]
    order = (0, 2, 1, 3) if count == 4 else [(1, 0, 2), (0, 2, 1)][int(rng.integers(2))]
    for name in node.input[1:4]:
        values = numpy_helper.to_array(known[name])
        parts = np.split(values, count * (2 if name == node.input[3] else 1), axis=1)
        picked = [parts[block + place] for block in range(0, len(parts), count) for place in order]
        _set(known[name], np.concatenate(picked, axis=1))
    return Planted(f"{node.op_type} with gates in the order {order}", graph=made, node=node.output[1])


def reset_order(model: Recurrent, rng: Rng) -> Planted | None:  # noqa: ARG001 - as all faults
    """Apply the reset gate of a GRU on the other side of the recurrent product."""
    made, node, _ = _weights_of(model)
    if node is None or node.op_type != "GRU":
        return None
    (attribute,) = (one for one in node.attribute if one.name == "linear_before_reset")
    attribute.i = 1 - attribute.i
    return Planted("GRU with linear_before_reset inverted", graph=made, node=node.output[1])


def again_transposed(model: Recurrent, rng: Rng) -> Planted | None:  # noqa: ARG001 - as all faults
    """Transpose the recurrent weights."""
    made, node, known = _weights_of(model)
    if node is not None:
        name, output = node.input[2], node.output[1]
        count = GATES[node.op_type]
        parts = np.split(numpy_helper.to_array(known[name])[0], count)
        _set(known[name], np.concatenate([part.T for part in parts])[None])
    else:
        found = [one for one in made.graph.node if one.op_type == "MatMul"]
        if not found:
            return None
        name, output = found[0].input[1], found[0].output[0]
        _set(known[name], numpy_helper.to_array(known[name]).T)
    return Planted(f"{name} transposed", graph=made, node=output)


def bias_lost(model: Recurrent, rng: Rng) -> Planted | None:
    """Leave out a bias: that of the recurrent half of an operator, or of a layer."""
    made, node, known = _weights_of(model)
    if node is not None:
        name, output = node.input[3], node.output[1]
        values = numpy_helper.to_array(known[name]).copy()
        values[:, values.shape[1] // 2 :] = 0
    else:
        found = [one for one in made.graph.node if one.op_type == "Gemm" and one.output[0] != "y"]
        picked = found[int(rng.integers(len(found)))]
        name, output = picked.input[2], picked.output[0]
        values = 0 * numpy_helper.to_array(known[name])
    _set(known[name], values)
    return Planted(f"{name} left out", graph=made, node=output)


def weight_scaled(model: Recurrent, rng: Rng) -> Planted | None:
    """Scale one weight or constant of a step."""
    made, known = graphs.copied(model.model), {}
    for tensor in made.graph.initializer:
        if tensor.data_type == TensorProto.FLOAT:
            known[tensor.name] = tensor
    nodes = [one for one in made.graph.node if any(name in known for name in one.input)]
    node = nodes[int(rng.integers(len(nodes)))]
    name = next(one for one in node.input if one in known)
    factor = np.float32(rng.choice([0.5, 0.8, 1.5]))
    _set(known[name], numpy_helper.to_array(known[name]) * factor)
    output = next(one for one in node.output if one)
    return Planted(f"{name} times {factor:.1f}", graph=made, node=output)


def outputs_exchanged(model: Recurrent, rng: Rng) -> Planted | None:  # noqa: ARG001 - as all faults
    """Exchange the two state outputs within the graph."""
    if len(model.states) < 2:
        return None
    made = graphs.copied(model.model)
    first, second = model.states.values()
    raw = {first: f"{first}.raw", second: f"{second}.raw"}
    for node in made.graph.node:
        graphs.rename_inputs(node, raw)
        node.output[:] = [raw.get(one, one) for one in node.output]
    ends = [graphs.node("Identity", [raw[one]], other) for one, other in ((first, second), (second, first))]
    graphs.replace_nodes(made, [*made.graph.node, *ends])
    return Planted(f"{first} and {second} exchanged in the graph", graph=made, cause="(outputs|states) .* exchanged")
