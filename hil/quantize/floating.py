"""Decide which nodes stay in floating point, and state for each the reason."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING, Any

import numpy as np
from onnx import TensorProto

from hil.onnx_files.operators import with_inner
from hil.onnx_files.precisions import WEIGHTED
from hil.quantize.joins import nodes_at_joins, unlike_joins
from hil.quantize.layout import OPERATORS, PASSING
from hil.quantize.masks import BOUNDED, masked_nodes
from hil.quantize.size_values import size_nodes

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping

    import onnx

    from hil.runtimes import QdqLayout

NAMED = 100
"""The most nodes that the record names; all are counted."""

MOVING = frozenset({"Concat", "Flatten", "Identity", "Pad", "Reshape", "Split", "Squeeze", "Transpose", "Unsqueeze"})
"""Operators whose result consists of unchanged values."""

_REMOVABLE = frozenset(PASSING) - BOUNDED

_INT8 = "DequantizeLinear"

_WIDE = frozenset({TensorProto.DOUBLE, TensorProto.BFLOAT16})
_FLOATS = _WIDE | {TensorProto.UNDEFINED, TensorProto.FLOAT, TensorProto.FLOAT16}


def kept_nodes(
    proto: onnx.ModelProto, ranges: Mapping[str, Any], masked: Collection[str], excluded: Collection[str]
) -> dict[str, tuple[str, str]]:
    """Return the names of the nodes that the quantizer must leave out, each with the kind of reason and a text on it.

    ``ranges`` are those of ``unlike_joins``, ``masked`` the tensors whose range a mask sets, ``excluded`` the nodes
    that the config excludes. Nodes that read an excluded node's result stay in floating point too, except convolutions
    and matrix products.
    """
    kept = dict.fromkeys(size_nodes(proto), ("size", "its result becomes a size"))
    joins = nodes_at_joins(proto, unlike_joins(proto, ranges))
    kept |= {node: ("unlike ranges", text) for node, text in (joins | _before(proto, joins)).items()}
    kept |= dict.fromkeys(masked_nodes(proto, masked), ("mask", "a mask would set its scale"))
    endless = without_range(ranges)
    kept |= {
        node.name: ("no range", f"calibration found no finite values of {name}")
        for node in proto.graph.node
        for name in (*node.input, *node.output)
        if name in endless
    }
    followers: dict[str, str] = {}
    for node in proto.graph.node:
        if node.name in excluded:
            kept[node.name] = ("excluded", f"calibration.exclude_nodes names node {node.name}")
            followers |= dict.fromkeys(node.output, node.name)
        elif node.op_type not in WEIGHTED and (
            origin := next((followers[n] for n in node.input if n in followers), "")
        ):
            kept[node.name] = ("after an excluded node", f"it reads values of the excluded node {origin}")
            if node.op_type in MOVING:
                followers |= dict.fromkeys(node.output, origin)
    return kept


def without_range(ranges: Mapping[str, Any]) -> set[str]:
    """Return the tensors whose range is not finite, such as those that never had an element."""
    return {name for name, one in ranges.items() if not np.isfinite(one.range_value).all()}


def _before(proto: onnx.ModelProto, joins: Mapping[str, str]) -> dict[str, str]:
    """Return the nodes whose results only ``joins`` read, so that INT8 gains nothing there, each with a text."""
    made: dict[str, str] = {}
    readers: dict[str, list[str]] = {output.name: [""] for output in proto.graph.output}
    for node in with_inner(proto.graph.node):
        for name in node.input:
            readers.setdefault(name, []).append(node.name)
    for node in reversed(proto.graph.node):
        after = [reader for name in node.output for reader in readers.get(name, ())]
        if node.op_type in _REMOVABLE and after and all(reader in joins or reader in made for reader in after):
            made[node.name] = joins.get(after[0]) or made[after[0]]
    return made


def floating_facts(
    proto: onnx.ModelProto, result: onnx.ModelProto, kept: Mapping[str, tuple[str, str]], layout: QdqLayout
) -> dict[str, Any]:
    """Return which nodes of ``proto`` compute in floating point in ``result``, its copy with Q/DQ nodes.

    ``count`` is their number, ``reasons`` the number for each reason, ``nodes`` the reasons of at most 100 nodes. Only
    operators of ``layout`` that compute with floats count. ``rounded`` states which inputs and outputs of excluded
    nodes are rounded to INT8 by neighbours.
    """
    makers = {name: node for node in result.graph.node for name in node.output}
    after = {node.name: node for node in result.graph.node}
    types = {value.name: value.type.tensor_type.elem_type for value in (*proto.graph.value_info, *proto.graph.output)}
    nodes: dict[str, str] = {}
    reasons = Counter[str]()
    for node in proto.graph.node:
        if node.op_type not in OPERATORS[layout] or types.get(node.output[0], 0) not in _FLOATS:
            continue
        made = after.get(node.name)
        if made is None:
            continue
        if node.name in kept or not any(name in makers and makers[name].op_type == _INT8 for name in made.input[:2]):
            reason, text = kept.get(node.name) or _other(types.get(node.output[0], 0))
            nodes[node.name] = text
            reasons[reason] += 1
    rounded = {node: texts for node in kept if kept[node][0] == "excluded" if (texts := _rounded(node, result, makers))}
    named = dict(list(nodes.items())[:NAMED])
    return {"count": len(nodes), "reasons": dict(reasons.most_common()), "nodes": named, "rounded": rounded}


def _other(kind: int) -> tuple[str, str]:
    if kind in _WIDE:
        return "type", "INT8 replaces float32 and float16 only"
    return "float input", "its inputs are in floating point"


def _rounded(name: str, result: onnx.ModelProto, makers: Mapping[str, onnx.NodeProto]) -> list[str]:
    """Return which inputs and outputs of the node called ``name`` are rounded to INT8 in ``result``."""
    nodes = result.graph.node
    node = next((node for node in nodes if node.name == name), None)
    if node is None:
        return []
    quantizers = [makers[makers[given].input[0]] for given in node.input if given in makers and _is_pair(given, makers)]
    texts = [f"its input {quantizer.input[0]} is rounded to INT8 by the node before" for quantizer in quantizers]
    for quantizer in (other for other in nodes if other.op_type == "QuantizeLinear" and other.input[0] in node.output):
        ends = {end for other in nodes if quantizer.output[0] in other.input for end in other.output}
        readers = [other.name for other in nodes if not ends.isdisjoint(other.input)]
        texts.append(f"its output {quantizer.input[0]} is rounded to INT8 for {', '.join(readers[:3])}")
    return texts


def _is_pair(name: str, makers: Mapping[str, onnx.NodeProto]) -> bool:
    """Return whether the tensor called ``name`` is the output of a QuantizeLinear and DequantizeLinear."""
    node = makers[name]
    return node.op_type == _INT8 and node.input[0] in makers and makers[node.input[0]].op_type == "QuantizeLinear"
