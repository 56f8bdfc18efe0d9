"""Estimate the memory of a model on a module: its weights, and the tensors that exist at the same time.

TensorRT fuses layers, which needs less, and copies weights while building, which needs more.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

from hil.agent.protocol.wire import ITEM_SIZES
from hil.lint.model_findings import Finding
from hil.onnx_files.signature import element_type
from hil.units import show

if TYPE_CHECKING:
    from collections.abc import Iterator

    import onnx

    from hil.lint.machine import Machine
    from hil.lint.model_graph import Graph, Shape

BITS = {"float4e2m1": 4, "int4": 4, "uint4": 4, "float8e8m0": 8}
"""Bits of an element of the types that hil cannot feed or compare."""

TIGHT = 0.5
"""The share of a module's memory above which building may fail, since the builder holds the weights twice."""


@dataclass(frozen=True)
class Memory:
    """An estimate in bytes; ``unsized`` is how many activations have an unknown size and are left out."""

    weights: int
    activations: int
    unsized: int

    @property
    def total(self) -> int:
        """Weights and activations."""
        return self.weights + self.activations


def estimate(graph: Graph) -> Memory:
    """Return the size of the weights, and of the activations that exist at once when nodes run in the file's order."""
    weights = sum(_size(tensor.data_type, tuple(tensor.dims)) or 0 for tensor in graph.constants.values())
    last: dict[str, int] = {}
    order = list(graph.proto.graph.node)
    for number, node in enumerate(order):
        last |= dict.fromkeys((*_all_inputs(node), *node.output), number)
    ends = {one.name for one in graph.proto.graph.output}
    sizes = {name: _size(graph.types.get(name, 0), graph.shapes[name]) for name in last if name in graph.shapes}
    made = [name for node in order for name in node.output if name]
    live = sum(sizes.get(one.name) or 0 for one in graph.signature.inputs)
    highest, ending = live, dict[int, list[str]]()
    for name, number in last.items():
        if name not in graph.constants and name not in ends:
            ending.setdefault(number, []).append(name)
    for number, node in enumerate(order):
        live += sum(sizes.get(name) or 0 for name in node.output)
        highest = max(highest, live)
        live -= sum(sizes.get(name) or 0 for name in ending.get(number, ()))
    return Memory(weights, highest, sum(1 for name in made if sizes.get(name) is None))


def _all_inputs(node: onnx.NodeProto) -> Iterator[str]:
    yield from node.input
    for one in node.attribute:
        for body in (one.g, *one.graphs):
            for inner in body.node:
                yield from _all_inputs(inner)


def _size(number: int, shape: Shape) -> int | None:
    """Return the bytes of a tensor of this element type and shape; ``None`` if either is not known."""
    name, sizes = element_type(number), [size for size in shape if size is not None and size >= 0]
    bits = BITS.get(name, 8 * ITEM_SIZES.get(name, 0))
    if not bits or len(sizes) < len(shape):
        return None
    return math.ceil(math.prod(sizes) * bits / 8)


def memory_findings(memory: Memory, machine: Machine) -> Iterator[Finding]:
    """Yield the finding on a model that is too large for the module, or that leaves little of its memory."""
    if machine.module is None:
        return
    total = machine.module.memory
    parts = f"weights {show(memory.weights, 'B')}, activations at least {show(memory.activations, 'B')} (an estimate)"
    has = f"{machine.module.slug} has {show(total, 'B')} for everything"
    if memory.total > total:
        yield Finding("memory", "model", f"{parts}, and {has}", "use a smaller model, batch or size, or another module")
    elif memory.total > TIGHT * total:
        fix = "check memory.peak on the board, and build with nothing else running"
        yield Finding("memory", "model", f"{parts}; {has}, and a build holds the weights twice", fix, "warn")
