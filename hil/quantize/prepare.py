"""Prepare a model for onnxruntime.quantization: functions, inputs, batch norms, opset, names and shapes."""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING

import numpy as np
import onnx
import onnx.inliner
import onnxruntime
from onnx import numpy_helper, version_converter

from hil.onnx_files.external_data import fits, save
from hil.onnx_files.operators import with_inner

if TYPE_CHECKING:
    from pathlib import Path

OPSET = 13
"""First opset whose Q/DQ nodes can have a scale per channel."""

HALF_OPSET = 19
"""First opset whose Q/DQ nodes take float16."""

LAST_OPSET = 27
"""Last opset for whose Q/DQ nodes ONNX Runtime has kernels (1.32 takes files of opset 28, but no Q/DQ node in them)."""

IR_VERSIONS = {OPSET: 7, HALF_OPSET: 9}
"""The IR version of each of these opsets (onnx's table of released versions)."""


def prepared(model: Path, folder: Path) -> onnx.ModelProto:
    """Return ``model`` as the quantizer needs it: functions inlined, batch norms folded, nodes named, shapes inferred.

    Its opset is at least 13, or at least 19 if a weight or an input is float16, and at most 27. ``folder`` is for
    temporary files.
    """
    proto, changed = _plain(onnx.load(str(model)))
    version = proto.ir_version
    if any(node.op_type == "BatchNormalization" for node in proto.graph.node):
        whole = folder / "whole.onnx"
        if changed:
            save(proto, whole)
        proto = _folded(whole if changed else model, folder)
    needed = HALF_OPSET if _has_half(proto) else OPSET
    opset = max((entry.version for entry in proto.opset_import if entry.domain in {"", "ai.onnx"}), default=0)
    if opset != (target := min(max(opset, needed), LAST_OPSET)):
        proto = version_converter.convert_version(proto, target)
    _plain_biases(proto.graph)
    proto.ir_version = max(version, IR_VERSIONS[needed])
    for number, node in enumerate(proto.graph.node):
        node.name = node.name or f"{node.op_type}_{number}"
    with contextlib.suppress(onnx.shape_inference.InferenceError):
        if fits(proto):
            return onnx.shape_inference.infer_shapes(proto, data_prop=True)
        plain, shaped = folder / "plain.onnx", folder / "shaped.onnx"
        save(proto, plain)
        onnx.shape_inference.infer_shapes_path(str(plain), str(shaped), data_prop=True)
        return onnx.load(str(shaped))
    return proto


def _plain(proto: onnx.ModelProto) -> tuple[onnx.ModelProto, bool]:
    """Inline local functions, remove weights from the graph's inputs, and write weights as full initializers.

    Return the model and whether it changed.
    """
    functions = bool(proto.functions)
    if functions:
        proto = onnx.inliner.inline_local_functions(proto)
    filled = _fills(proto.graph) | _weights_of_constants(proto.graph)
    weights = {tensor.name for tensor in proto.graph.initializer}
    inputs = [value for value in proto.graph.input if value.name not in weights]
    changed = functions or filled or len(inputs) < len(proto.graph.input)
    if changed:
        del proto.graph.input[:]
        proto.graph.input.extend(inputs)
        proto.ir_version = max(proto.ir_version, 4)  # before, each weight had to be an input
    return proto, changed


def _fills(graph: onnx.GraphProto) -> bool:
    """Write the sparse weights of a graph and its inner graphs in full. Return whether there were any."""
    found = bool(graph.sparse_initializer)
    graph.initializer.extend(map(_dense, graph.sparse_initializer))
    graph.ClearField("sparse_initializer")
    for attribute in [one for node in graph.node for one in node.attribute]:
        if attribute.type == onnx.AttributeProto.SPARSE_TENSOR:  # of a Constant
            attribute.CopyFrom(onnx.helper.make_attribute("value", _dense(attribute.sparse_tensor)))
            found = True
        for inner in (*attribute.graphs, *([attribute.g] if attribute.HasField("g") else [])):
            found = _fills(inner) or found
    return found


def _weights_of_constants(graph: onnx.GraphProto) -> bool:
    """Turn the ``Constant`` nodes of a graph into initializers. Return whether there were any.

    The quantizer takes a constant node's output for an activation, with one scale for the whole tensor.
    """
    others = []
    for node in graph.node:
        if node.op_type == "Constant" and [one.name for one in node.attribute] == ["value"]:
            graph.initializer.append(node.attribute[0].t)
            graph.initializer[-1].name = node.output[0]
        else:
            others.append(node)
    changed = len(others) < len(graph.node)
    if changed:
        del graph.node[:]
        graph.node.extend(others)
    return changed


def _dense(sparse: onnx.SparseTensorProto) -> onnx.TensorProto:
    """Return the same weight as a tensor. Its indices are positions in the flat tensor, or one row for each value."""
    values, indices = numpy_helper.to_array(sparse.values), numpy_helper.to_array(sparse.indices)
    whole = np.zeros(tuple(sparse.dims), values.dtype)
    whole[np.unravel_index(indices, whole.shape) if indices.ndim == 1 else tuple(indices.T)] = values
    return numpy_helper.from_array(whole, sparse.values.name)


def _plain_biases(graph: onnx.GraphProto) -> None:
    """Give each Gemm with a constant bias one value per column, multiplied by its ``beta``, which becomes 1.

    The quantizer handles no other form (onnxruntime 1.32, ``operators/gemm.py``).
    """
    constants = {tensor.name: tensor for tensor in graph.initializer}
    replaced: set[str] = set()
    for number, node in enumerate(graph.node):
        bias = constants.get(node.input[2]) if node.op_type == "Gemm" and len(node.input) > 2 else None
        if bias is None:
            continue
        attributes = {attribute.name: attribute for attribute in node.attribute}
        beta, weights, values = attributes.get("beta"), constants.get(node.input[1]), numpy_helper.to_array(bias)
        plain = values if beta is None else (values * beta.f).astype(values.dtype)
        if weights is not None and (plain.ndim < 2 or len(plain) == 1):
            turned = "transB" in attributes and attributes["transB"].i
            plain = np.broadcast_to(plain.reshape(-1), weights.dims[0 if turned else 1])
        if plain.shape == values.shape and (beta is None or beta.f == 1):
            continue
        name = f"{bias.name}_plain_{number}"  # other nodes may read the same constant
        graph.initializer.append(numpy_helper.from_array(plain, name))
        node.input[2] = name
        if beta is not None:
            beta.f = 1.0
        replaced.add(bias.name)
    for name in replaced - {name for node in with_inner(graph.node) for name in node.input}:
        graph.initializer.remove(constants[name])


def _has_half(proto: onnx.ModelProto) -> bool:
    """Whether any weight or input is float16."""
    weights = (tensor.data_type for tensor in proto.graph.initializer)
    return onnx.TensorProto.FLOAT16 in {*weights, *(one.type.tensor_type.elem_type for one in proto.graph.input)}


def _folded(model: Path, folder: Path) -> onnx.ModelProto:
    """Return the model with batch norms folded into convolutions."""
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 4
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_ENABLE_BASIC
    options.optimized_model_filepath = str(folder / "folded.onnx")
    onnxruntime.InferenceSession(str(model), options, providers=["CPUExecutionProvider"])
    return onnx.load(str(folder / "folded.onnx"))
