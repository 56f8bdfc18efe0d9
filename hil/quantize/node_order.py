"""Sort nodes as ONNX requires: each after the producers of all tensors that it and its subgraphs read."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

    import onnx


def sort_nodes(graph: onnx.GraphProto) -> None:
    """Move each node that stands after a reader of its outputs to before this reader; keep the order otherwise."""
    nodes = list(graph.node)
    producers = {output: number for number, node in enumerate(nodes) for output in node.output if output}
    needs = [[producers[name] for name in _inputs_of(node) if name in producers] for node in nodes]
    ordered: list[int] = []
    visited, done = set[int](), set[int]()
    for first in range(len(nodes)):
        stack = [first]
        while stack:
            number = stack[-1]
            unfinished = [] if number in visited else [needed for needed in needs[number] if needed not in done]
            visited.add(number)
            if unfinished:
                stack += reversed(unfinished)
                continue
            stack.pop()
            if number not in done:
                done.add(number)
                ordered.append(number)
    del graph.node[:]
    graph.node.extend(nodes[number] for number in ordered)


def _inputs_of(node: onnx.NodeProto) -> Iterator[str]:
    """Yield the tensors that a node or anything in its subgraphs reads."""
    yield from node.input
    for attribute in node.attribute:
        for graph in (attribute.g, *attribute.graphs):
            for inner in graph.node:
                yield from _inputs_of(inner)
