"""Nodes in the order that ONNX demands: each behind all that it takes, those of its subgraphs included."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

    import onnx


def sort_nodes(graph: onnx.GraphProto) -> None:
    """Moves what ``onnxruntime.quantization`` appended in front of what it feeds; other nodes keep their order.

    Its own sorting does not look into the bodies of ``If`` and ``Loop``, which may take outer tensors.
    """
    nodes = list(graph.node)
    makers = {output: number for number, node in enumerate(nodes) for output in node.output if output}
    needs = [[makers[name] for name in _taken(node) if name in makers] for node in nodes]
    ordered: list[int] = []
    begun, done = set[int](), set[int]()
    for first in range(len(nodes)):
        waiting = [first]
        while waiting:
            number = waiting[-1]
            lacking = [] if number in begun else [one for one in needs[number] if one not in done]
            begun.add(number)
            if lacking:
                waiting += reversed(lacking)
                continue
            waiting.pop()
            if number not in done:
                done.add(number)
                ordered.append(number)
    del graph.node[:]
    graph.node.extend(nodes[number] for number in ordered)


def _taken(node: onnx.NodeProto) -> Iterator[str]:
    """The tensors a node takes, and those that anything inside of it does."""
    yield from node.input
    for attribute in node.attribute:
        for graph in (attribute.g, *attribute.graphs):
            for inner in graph.node:
                yield from _taken(inner)
