"""Pure planning over two ONNX graphs: which tensors mean the same in both, and which nodes lie between them.

Only the top level is looked at: a node with a body (If, Loop, Scan) is one node, whatever happens inside.
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
"""Control flow: nodes with graphs inside that are not looked into."""

NO_TENSOR = ("Sequence", "Optional")
"""What is in the name of operators that give no tensor, or may not; their outputs cannot be marked."""


@dataclass(frozen=True)
class Pair:
    """A tensor of the suspect that should hold what ``reference`` holds; ``quantized`` after its own Q and DQ."""

    suspect: str
    reference: str
    quantized: bool = False


@dataclass(frozen=True)
class Region:
    """What computes ``pair.suspect`` from other paired tensors.

    ``nodes`` are the suspect's and ``origin`` the reference's, by number and in order; ``takes`` are the suspect's
    paired tensors and inputs that they read. ``origin`` is empty for a Q/DQ pair, which the reference has not.
    """

    pair: Pair
    nodes: tuple[int, ...]
    origin: tuple[int, ...]
    takes: tuple[str, ...]


@dataclass(frozen=True)
class Graph:
    """A model's top level, looked up by tensor."""

    model: onnx.ModelProto
    nodes: tuple[onnx.NodeProto, ...] = field(init=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "nodes", tuple(self.model.graph.node))

    @cached_property
    def constants(self) -> dict[str, onnx.TensorProto]:
        """Initializers by name."""
        return {tensor.name: tensor for tensor in self.model.graph.initializer}

    @cached_property
    def inputs(self) -> tuple[str, ...]:
        """Inputs that are fed; initializers that old exporters list too are left out."""
        return tuple(value.name for value in self.model.graph.input if value.name not in self.constants)

    @cached_property
    def outputs(self) -> tuple[str, ...]:
        """Outputs in the file's order."""
        return tuple(value.name for value in self.model.graph.output)

    @cached_property
    def makers(self) -> dict[str, int]:
        """Which node makes a tensor."""
        return {name: number for number, node in enumerate(self.nodes) for name in node.output if name}

    @cached_property
    def varying(self) -> frozenset[str]:
        """Tensors that depend on an input: the others are constants, however they are made."""
        found = set(self.inputs)
        for node in self.nodes:  # ONNX demands topological order
            if any(name in found for name in taken(node)):
                found.update(name for name in node.output if name)
        return frozenset(found)

    def between(self, name: str, cut: frozenset[str]) -> tuple[tuple[int, ...], tuple[str, ...]]:
        """The nodes that make ``name`` from tensors in ``cut`` and inputs, and which of those they take."""
        found: set[int] = set()
        takes: dict[str, None] = {}
        waiting = [self.makers[name]] if name in self.makers else []
        while waiting:
            number = waiting.pop()
            if number in found:
                continue
            found.add(number)
            for source in taken(self.nodes[number]):
                if source in cut or source in self.inputs:
                    takes[source] = None
                elif source in self.makers:
                    waiting.append(self.makers[source])
        return tuple(sorted(found)), tuple(takes)

    def label(self, number: int) -> str:
        """A node's name; of one without, what it makes."""
        node = self.nodes[number]
        return str(node.name or next((name for name in node.output if name), f"{node.op_type}_{number}"))


def taken(node: onnx.NodeProto) -> Iterator[str]:
    """The tensors that a node takes, and those that anything in its bodies takes from outside."""
    yield from (name for name in node.input if name)
    for attribute in node.attribute:
        for graph in (attribute.g, *attribute.graphs):
            if not graph.node:
                continue
            inner = {value.name for value in graph.input} | {tensor.name for tensor in graph.initializer}
            for each in graph.node:
                yield from (name for name in taken(each) if name not in inner)
                inner.update(each.output)
            yield from (value.name for value in graph.output if value.name not in inner)


def pairs(reference: Graph, suspect: Graph) -> tuple[Pair, ...]:
    """Tensors that mean the same in both graphs, in the suspect's order; constants are left out.

    Names decide, as quantizers and optimizers keep them, and around Q/DQ pairs the wiring: what leaves a pair is
    the tensor that went in, and where the quantizer renamed what goes in, it is the one that comes out.
    """
    found: dict[str, Pair] = {}
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
                    found[name] = Pair(name, name)
            elif source in known and source not in reference.outputs:
                found[name] = Pair(name, source, quantized=True)
            elif name in known:
                if source in suspect.makers:
                    found[source] = Pair(source, name)
                found[name] = Pair(name, name, quantized=source in suspect.makers)
    order = {name: number for number, node in enumerate(suspect.nodes) for name in node.output}
    return tuple(sorted(found.values(), key=lambda pair: order[pair.suspect]))


def _quantized(graph: Graph, number: int) -> str | None:
    """What went into the Q/DQ pair that ends with this node; ``None`` for any other node."""
    node = graph.nodes[number]
    if node.op_type != DEQUANTIZE or node.input[0] not in graph.makers:
        return None
    maker = graph.nodes[graph.makers[node.input[0]]]
    return str(maker.input[0]) if maker.op_type == QUANTIZE else None


def regions(reference: Graph, suspect: Graph, paired: tuple[Pair, ...], floating: frozenset[str]) -> tuple[Region, ...]:
    """What lies between the pairs, cut at those whose reference tensor is in ``floating``.

    Integers (shapes, indices) are never cut: they would have to be fed where a runtime wants constants.
    """
    chosen = [pair for pair in paired if pair.reference in floating]
    cut = frozenset(pair.suspect for pair in chosen)
    origin = frozenset(pair.reference for pair in chosen)
    ends = [pair for pair in paired if pair not in chosen and pair.suspect in suspect.outputs]
    made = []
    for pair in (*chosen, *ends):
        nodes, takes = suspect.between(pair.suspect, cut - {pair.suspect})
        theirs = () if pair.quantized else reference.between(pair.reference, origin - {pair.reference})[0]
        made.append(Region(pair, nodes, theirs, takes))
    return tuple(made)
