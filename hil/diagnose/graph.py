"""Matches two ONNX graphs: which tensors correspond, and which nodes lie between them.

Only the top level is examined: a node with a body (If, Loop, Scan) counts as one node.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import cached_property
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

    import onnx

QUANTIZE, DEQUANTIZE = "QuantizeLinear", "DequantizeLinear"
BODIES = frozenset({"If", "Loop", "Scan"})
"""Control flow: nodes with subgraphs, which are not examined."""

NO_TENSOR = ("Sequence", "Optional")
"""Parts of the names of operators whose outputs may not be tensors; such outputs cannot be marked."""


@dataclass(frozen=True)
class Pair:
    """A tensor of the suspect and the corresponding one of the reference, by name.

    ``quantized`` is true if the suspect's tensor is the output of a pair of QuantizeLinear and DequantizeLinear (Q/DQ).
    """

    suspect: str
    reference: str
    quantized: bool = False


@dataclass(frozen=True)
class Region:
    """The nodes that compute the tensor ``pair.suspect`` from other paired tensors and inputs.

    Attributes:
        pair: the tensor and its counterpart in the reference.
        nodes: the ascending numbers of these nodes in the suspect.
        origin: the ascending numbers of the reference's nodes that compute ``pair.reference``; empty for a Q/DQ pair.
        takes: the paired tensors and inputs of the suspect that ``nodes`` read.
    """

    pair: Pair
    nodes: tuple[int, ...]
    origin: tuple[int, ...]
    takes: tuple[str, ...]


@dataclass(frozen=True)
class Graph:
    """The top level of a model, indexed by tensor name."""

    model: onnx.ModelProto
    nodes: tuple[onnx.NodeProto, ...] = field(init=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "nodes", tuple(self.model.graph.node))

    @cached_property
    def constants(self) -> dict[str, onnx.TensorProto]:
        """Return the initializers by name."""
        return {tensor.name: tensor for tensor in self.model.graph.initializer}

    @cached_property
    def inputs(self) -> tuple[str, ...]:
        """Return the model's inputs, without the initializers that old exporters list among them."""
        return tuple(value.name for value in self.model.graph.input if value.name not in self.constants)

    @cached_property
    def outputs(self) -> tuple[str, ...]:
        """Return the outputs in the model's order."""
        return tuple(value.name for value in self.model.graph.output)

    @cached_property
    def makers(self) -> dict[str, int]:
        """Return the number of the node that makes each tensor, by tensor name."""
        return {name: number for number, node in enumerate(self.nodes) for name in node.output if name}

    @cached_property
    def varying(self) -> frozenset[str]:
        """Return the tensors that depend on an input; all others are constant."""
        names = set(self.inputs)
        for node in self.nodes:  # ONNX demands topological order
            if any(name in names for name in tensors_read_by(node)):
                names.update(name for name in node.output if name)
        return frozenset(names)

    def between(self, name: str, cut: frozenset[str]) -> tuple[tuple[int, ...], tuple[str, ...]]:
        """Return the numbers of the nodes that compute ``name`` from the model's inputs and tensors in ``cut``.

        Also return which of these inputs and tensors the nodes read.
        """
        numbers: set[int] = set()
        takes: dict[str, None] = {}
        waiting = [self.makers[name]] if name in self.makers else []
        while waiting:
            number = waiting.pop()
            if number in numbers:
                continue
            numbers.add(number)
            for source in tensors_read_by(self.nodes[number]):
                if source in cut or source in self.inputs:
                    takes[source] = None
                elif source in self.makers:
                    waiting.append(self.makers[source])
        return tuple(sorted(numbers)), tuple(takes)

    def label(self, number: int) -> str:
        """Return a node's name; if it has none, the name of its first output."""
        node = self.nodes[number]
        return str(node.name or next((name for name in node.output if name), f"{node.op_type}_{number}"))


def tensors_read_by(node: onnx.NodeProto) -> Iterator[str]:
    """Yield the tensors that a node reads, including the tensors of the outer graph that its bodies read."""
    yield from (name for name in node.input if name)
    for attribute in node.attribute:
        for graph in (attribute.g, *attribute.graphs):
            if not graph.node:
                continue
            inner = {value.name for value in graph.input} | {tensor.name for tensor in graph.initializer}
            for child in graph.node:
                yield from (name for name in tensors_read_by(child) if name not in inner)
                inner.update(child.output)
            yield from (value.name for value in graph.output if value.name not in inner)


def pairs(reference: Graph, suspect: Graph) -> tuple[Pair, ...]:
    """Return the pairs of corresponding tensors, in the suspect's order, without constants.

    Tensors correspond by name. The output of a Q/DQ pair corresponds to the reference's tensor that the pair quantizes
    or, if the pair makes an output of the model, to that output.
    """
    paired: dict[str, Pair] = {}
    known = reference.varying
    for number, node in enumerate(suspect.nodes):
        if any(word in node.op_type for word in NO_TENSOR):
            continue
        for name in node.output:
            if not name or name not in suspect.varying:
                continue
            source = _quantized(suspect, number)
            if source is None:
                if name in known:
                    paired[name] = Pair(name, name)
            elif source in known and source not in reference.outputs:
                paired[name] = Pair(name, source, quantized=True)
            elif name in known:
                if source in suspect.makers:
                    paired[source] = Pair(source, name)
                paired[name] = Pair(name, name, quantized=source in suspect.makers)
    order = {name: number for number, node in enumerate(suspect.nodes) for name in node.output}
    return tuple(sorted(paired.values(), key=lambda pair: order[pair.suspect]))


def _quantized(graph: Graph, number: int) -> str | None:
    """Return the input of the Q/DQ pair that ends with this node; ``None`` if no pair ends here."""
    node = graph.nodes[number]
    if node.op_type != DEQUANTIZE or node.input[0] not in graph.makers:
        return None
    maker = graph.nodes[graph.makers[node.input[0]]]
    return str(maker.input[0]) if maker.op_type == QUANTIZE else None


def regions(reference: Graph, suspect: Graph, paired: tuple[Pair, ...], floating: frozenset[str]) -> tuple[Region, ...]:
    """Return one region for each pair whose reference tensor is in ``floating``, and for each pair that is an output.

    ``floating`` are the reference's floating-point tensors. Integer tensors are never inputs of a region.
    """
    chosen = [pair for pair in paired if pair.reference in floating]
    cut = frozenset(pair.suspect for pair in chosen)
    origin = frozenset(pair.reference for pair in chosen)
    ends = [pair for pair in paired if pair not in chosen and pair.suspect in suspect.outputs]
    result = []
    for pair in (*chosen, *ends):
        nodes, takes = suspect.between(pair.suspect, cut)
        theirs = () if pair.quantized else reference.between(pair.reference, origin)[0]
        result.append(Region(pair, nodes, theirs, takes))
    return tuple(result)
