"""Faults that occur in engines' graphs, each planted in a node that a random generator chooses.

A fault takes a copy of the model and a generator, changes the copy, and returns the changed node; ``None`` if the model
has no suitable node. ``overflow`` also changes the reference; ``range_`` changes an INT8 graph.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
import onnx
from onnx import helper, numpy_helper

from hil.diagnose.graph import DEQUANTIZE, QUANTIZE, Graph
from hil.diagnose.tensor_error import FP16_MAX

Array = npt.NDArray[Any]
Rng = np.random.Generator

WEIGHTED = ("Conv", "Gemm", "MatMul")
HOMOGENEOUS = ("Relu", "MaxPool", "Flatten", "Reshape", "Dropout")
"""Operators that pass on a positive factor, so that a later weight can cancel it."""

NORMALIZATIONS = ("BatchNormalization", "LayerNormalization")
ORDERED = ("Transpose", "Softmax")

HIGH = 3e5
"""The largest magnitude to which an activation is scaled so that it overflows FP16."""


class Planted(NamedTuple):
    """The tensor that the faulty node outputs (or the wrongly preprocessed input), and a description of the change."""

    tensor: str
    what: str


Fault = Callable[[onnx.ModelProto, Rng], Planted | None]


def _constants(model: onnx.ModelProto) -> dict[str, onnx.TensorProto]:
    return {tensor.name: tensor for tensor in model.graph.initializer}


def _set(tensor: onnx.TensorProto, array: Array) -> None:
    tensor.CopyFrom(numpy_helper.from_array(np.ascontiguousarray(array), tensor.name))


def _pick(rng: Rng, nodes: list[onnx.NodeProto]) -> onnx.NodeProto | None:
    return nodes[int(rng.integers(len(nodes)))] if nodes else None


def _weighted(model: onnx.ModelProto, ops: tuple[str, ...] = WEIGHTED, at: int = 1) -> list[onnx.NodeProto]:
    """Return the nodes whose operand ``at`` is a constant that no other node uses."""
    constants = _constants(model)
    counts: dict[str, int] = {}
    for node in model.graph.node:
        for name in node.input:
            counts[name] = counts.get(name, 0) + 1
    return [
        node
        for node in model.graph.node
        if node.op_type in ops and len(node.input) > at and node.input[at] in constants and counts[node.input[at]] == 1
    ]


def weight(model: onnx.ModelProto, rng: Rng) -> Planted | None:
    """Corrupt one weight of one node, as a flipped high bit of the exponent would."""
    node = _pick(rng, _weighted(model))
    if node is None:
        return None
    tensor = _constants(model)[node.input[1]]
    array = numpy_helper.to_array(tensor).copy()
    place = int(rng.integers(array.size))
    array.flat[place] = 8 * np.abs(array).max() * rng.choice([-1, 1])
    _set(tensor, array)
    return Planted(node.output[0], f"weight {place} of {node.input[1]}")


def epsilon(model: onnx.ModelProto, rng: Rng) -> Planted | None:
    """Multiply the epsilon of one normalization by 100, as if another framework's default were used."""
    node = _pick(rng, [n for n in model.graph.node if n.op_type in NORMALIZATIONS])
    if node is None:
        return None
    others = [attribute for attribute in node.attribute if attribute.name != "epsilon"]
    before = next((attribute.f for attribute in node.attribute if attribute.name == "epsilon"), 1e-5)
    copies = [onnx.AttributeProto.FromString(attribute.SerializeToString()) for attribute in others]
    del node.attribute[:]
    node.attribute.extend([*copies, helper.make_attribute("epsilon", 100 * before)])
    return Planted(node.output[0], f"epsilon {100 * before:.1g} instead of {before:.1g}")


def axis(model: onnx.ModelProto, rng: Rng) -> Planted | None:
    """Change an axis: swap two axes of a Transpose, or use the previous axis in a Softmax."""
    ordered = [n for n in model.graph.node if n.op_type in ORDERED]
    # A transposition of two axes has no others to swap.
    node = _pick(rng, [n for n in ordered if n.op_type == "Softmax" or len(n.attribute[0].ints) > 2])
    if node is None:
        return None
    if node.op_type == "Softmax":
        attribute = next((one for one in node.attribute if one.name == "axis"), None)
        before = -1 if attribute is None else attribute.i
        del node.attribute[:]
        node.attribute.append(helper.make_attribute("axis", before - 1 if before else 1))
        return Planted(node.output[0], f"softmax axis {before - 1} instead of {before}")
    perm = list(node.attribute[0].ints)
    first, second = (int(one) for one in rng.choice(np.arange(1, len(perm)), 2, replace=False))
    perm[first], perm[second] = perm[second], perm[first]
    before = list(node.attribute[0].ints)
    del node.attribute[:]
    node.attribute.append(helper.make_attribute("perm", perm))
    return Planted(node.output[0], f"perm {perm} instead of {before}")


def channels(model: onnx.ModelProto, rng: Rng) -> Planted | None:
    """Reverse the input channels of one convolution or product, as with BGR instead of RGB."""
    constants = _constants(model)
    nodes = [n for n in _weighted(model) if constants[n.input[1]].dims[_axis(n)] > 1]
    node = _pick(rng, nodes)
    if node is None:
        return None
    tensor = constants[node.input[1]]
    _set(tensor, np.flip(numpy_helper.to_array(tensor), _axis(node)))
    return Planted(node.output[0], f"input channels of {node.input[1]} reversed")


def _axis(node: onnx.NodeProto) -> int:
    """Return the axis of the input channels in a node's weight."""
    turned = any(one.name == "transB" and one.i for one in node.attribute)
    return 1 if node.op_type == "Conv" or turned else 0


def scale(model: onnx.ModelProto, rng: Rng) -> Planted | None:
    """Halve the scale of one normalization, or the constant of one multiplication or division."""
    node = _pick(rng, _weighted(model, (*NORMALIZATIONS, "Mul", "Div")))
    if node is None:
        return None
    tensor = _constants(model)[node.input[1]]
    array = numpy_helper.to_array(tensor)
    _set(tensor, (array * array.dtype.type(0.5)).astype(array.dtype))
    return Planted(node.output[0], f"{node.input[1]} halved")


def bias(model: onnx.ModelProto, rng: Rng) -> Planted | None:
    """Remove the bias of one node."""
    node = _pick(rng, _weighted(model, ("Conv", "Gemm"), 2))
    if node is None:
        return None
    name = node.input[2]
    del node.input[2]
    return Planted(node.output[0], f"{name} left out")


def preprocessing(model: onnx.ModelProto, rng: Rng) -> Planted | None:
    """Shift one input by 0.5, and scale it in two of three cases, as with a wrong mean or scale in preprocessing."""
    graph = Graph(model)
    name = graph.inputs[int(rng.integers(len(graph.inputs)))]
    factor, shift = float(rng.choice([1.0, 0.5, 1 / 0.226])), float(rng.choice([0.5, -0.5]))
    consts = [numpy_helper.from_array(np.float32(one), f"pre.{key}") for key, one in (("f", factor), ("s", shift))]
    model.graph.initializer.extend(consts)
    for node in model.graph.node:
        node.input[:] = ["pre.out" if one == name else one for one in node.input]
    mul = helper.make_node("Mul", [name, "pre.f"], ["pre.scaled"], name="pre.mul")
    add = helper.make_node("Add", ["pre.scaled", "pre.s"], ["pre.out"], name="pre.add")
    nodes = [mul, add, *(onnx.NodeProto.FromString(node.SerializeToString()) for node in model.graph.node)]
    del model.graph.node[:]
    model.graph.node.extend(nodes)
    return Planted(name, f"{name} times {factor:.3g} plus {shift}")


def overflow(model: onnx.ModelProto, rng: Rng, values: Mapping[str, Array]) -> Planted | None:
    """Scale the activations of one node beyond FP16 in both models, and cancel the factor in the next weight.

    ``values`` are the reference's tensors, which determine the factor.
    """
    graph = Graph(model)
    pairs = [(n, end) for n in _weighted(model, ("Conv", "Gemm")) if (end := _next_weight(graph, n)) is not None]
    if not pairs:
        return None
    node, end = pairs[int(rng.integers(len(pairs)))]
    factor = HIGH / float(np.abs(values[node.output[0]]).max())
    constants = _constants(model)
    if factor * float(np.abs(numpy_helper.to_array(constants[node.input[1]])).max()) > FP16_MAX:
        return None  # the weights themselves would not fit
    for name in node.input[1:]:
        _set(constants[name], (numpy_helper.to_array(constants[name]) * np.float32(factor)).astype(np.float32))
    _set(constants[end], (numpy_helper.to_array(constants[end]) / np.float32(factor)).astype(np.float32))
    return Planted(node.output[0], f"activations up to {HIGH:.0e}")


def _next_weight(graph: Graph, node: onnx.NodeProto) -> str | None:
    """Return the weight of the one Conv or Gemm after ``node``; only homogeneous operators may be between them."""
    while True:
        readers = [one for one in graph.nodes if node.output[0] in one.input]
        if len(readers) != 1 or node.output[0] in graph.outputs:
            return None
        (node,) = readers
        if node.op_type in {"Conv", "Gemm"} and node.input[1] in graph.constants:
            return str(node.input[1])
        if node.op_type not in HOMOGENEOUS:
            return None


def range_(model: onnx.ModelProto, rng: Rng) -> Planted | None:
    """Multiply or divide the scale of one activation's Q and DQ nodes by 8; ``model`` is an INT8 graph."""
    constants = _constants(model)
    graph = Graph(model)
    pairs = [
        (node, graph.nodes[graph.makers[node.input[0]]])
        for node in model.graph.node
        if node.op_type == DEQUANTIZE and node.input[0] in graph.makers and node.input[1] in constants
    ]
    pairs = [(dq, q) for dq, q in pairs if q.op_type == QUANTIZE and q.input[0] in graph.varying]
    if not pairs:
        return None
    dq, q = pairs[int(rng.integers(len(pairs)))]
    factor = float(rng.choice([8.0, 0.125]))
    name = f"{dq.input[1]}.wrong"
    tensor = numpy_helper.from_array(numpy_helper.to_array(constants[dq.input[1]]) * np.float32(factor), name)
    model.graph.initializer.append(tensor)
    wrong = {q.output[0], dq.output[0]}
    for node in model.graph.node:
        if node.output[0] in wrong:
            node.input[1] = name
    return Planted(q.input[0], f"scale of {q.input[0]} times {factor}")


GRAPH_FAULTS: Mapping[str, Fault] = {
    "weight": weight,
    "epsilon": epsilon,
    "axis": axis,
    "channels": channels,
    "scale": scale,
    "bias": bias,
    "preprocessing": preprocessing,
}
NEEDS: Mapping[str, frozenset[str]] = {
    "epsilon": frozenset(NORMALIZATIONS),
    "axis": frozenset(ORDERED),
    "bias": frozenset({"Conv", "Gemm"}),
    "overflow": frozenset({"Conv", "Gemm"}),
}
"""For each kind of fault, the operators of which a graph must have at least one; other kinds suit every graph."""

KINDS = (*GRAPH_FAULTS, "overflow", "range")
