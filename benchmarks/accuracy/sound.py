"""Changes after which a model answers as before: what exporters, optimizers and number formats do to it."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Any

import ml_dtypes
import numpy as np
import onnx
from onnx import version_converter

from benchmarks.accuracy import graphs
from benchmarks.parity.engines import in_fp16

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from numpy.typing import NDArray

    from benchmarks.accuracy.case import Case

    Change = Callable[[Case, np.random.Generator], onnx.ModelProto | None]


def _rounded(kind: Any) -> Change:
    def change(case: Case, _: np.random.Generator) -> onnx.ModelProto:
        return graphs.edit_weights(case.simple, list(graphs.weights(case.simple)), lambda values: values.astype(kind))

    return change


def _noise(share: float) -> Change:
    def change(case: Case, random: np.random.Generator) -> onnx.ModelProto:
        def edit(values: NDArray[Any]) -> NDArray[Any]:
            return np.asarray(values + random.standard_normal(values.shape) * values.std() * share)

        return graphs.edit_weights(case.simple, list(graphs.weights(case.simple)), edit)

    return change


def _newer_opset(case: Case, _: np.random.Generator) -> onnx.ModelProto | None:
    (old,) = (one.version for one in case.simple.opset_import if one.domain in {"", "ai.onnx"})
    plain = graphs.copied(case.simple)
    plain.ir_version = max(plain.ir_version, 8)
    kept = [one for one in plain.opset_import if one.domain in {"", "ai.onnx"}]
    del plain.opset_import[:]
    plain.opset_import.extend(kept)
    return version_converter.convert_version(plain, 17 if old < 17 else 20)


def _simplified(case: Case, _: np.random.Generator) -> onnx.ModelProto | None:
    return case.simple if len(case.simple.graph.node) < len(case.model.graph.node) else None


def _identities(case: Case, _: np.random.Generator) -> onnx.ModelProto:
    made = graphs.copied(case.simple)
    nodes = []
    outputs = {one.name for one in made.graph.output}
    for number, node in enumerate(made.graph.node):
        name = node.output[0]
        nodes.append(node)
        if number % 3 == 0 and name not in outputs and len(node.output) == 1:
            node.output[0] = f"{name}.early"
            nodes.append(graphs.node("Identity", [f"{name}.early"], name))
    graphs.replace_nodes(made, nodes)
    return onnx.shape_inference.infer_shapes(made)


def _bias_apart(case: Case, _: np.random.Generator) -> onnx.ModelProto | None:
    """Add the biases of convolutions and matrices in a node of their own."""
    made, nodes, edits = graphs.copied(case.simple), [], 0
    known = {tensor.name: onnx.numpy_helper.to_array(tensor) for tensor in made.graph.initializer}
    for node in made.graph.node:
        nodes.append(node)
        if node.op_type in {"Conv", "Gemm"} and len(node.input) == 3 and node.input[2] in known:
            bias, result = known[node.input[2]], node.output[0]
            if node.input[1] not in known or any(one.name == "beta" and one.f != 1 for one in node.attribute):
                continue
            if node.op_type == "Conv":
                bias = bias.reshape(1, -1, *[1] * (known[node.input[1]].ndim - 2))
            del node.input[2]
            node.output[0] = f"{result}.plain"
            nodes.append(
                graphs.node("Add", [f"{result}.plain", graphs.constant(made, f"{result}.apart", bias)], result)
            )
            edits += 1
    graphs.replace_nodes(made, nodes)
    return made if edits else None


def _other_sums(case: Case, _: np.random.Generator) -> onnx.ModelProto | None:
    """Compute each convolution and product as the sum of two, each over half of the input channels."""
    made, nodes, edits = graphs.copied(case.simple), [], 0
    places = {place: values for place, _, values in graphs.layers(case.simple, "Conv", "MatMul")}
    for place, node in enumerate(made.graph.node):
        group = next((one.i for one in node.attribute if one.name == "group"), 1)
        values = places.get(place)
        axis = 1 if node.op_type == "Conv" else 0
        if values is None or group != 1 or values.shape[axis] < 2 or (axis == 0 and values.ndim != 2):
            nodes.append(node)
            continue
        half, result = values.shape[axis] // 2, node.output[0]
        along = np.array([1 if axis else -1])
        for part, span in enumerate(((0, half), (half, values.shape[axis]))):
            ends = [graphs.constant(made, f"{result}.{part}.{n}", np.array([one])) for n, one in enumerate(span)]
            ends.append(graphs.constant(made, f"{result}.{part}.axis", along))
            nodes.append(graphs.node("Slice", [node.input[0], *ends], f"{result}.{part}.in"))
            some = values[:, slice(*span)] if axis else values[slice(*span)]
            again = onnx.NodeProto.FromString(node.SerializeToString())
            again.name, again.output[0] = f"{node.name}.{part}", f"{result}.{part}"
            rest = list(node.input[2:]) if part == 0 else []
            again.input[:] = [f"{result}.{part}.in", graphs.constant(made, f"{result}.{part}.w", some), *rest]
            nodes.append(again)
        nodes.append(graphs.node("Add", [f"{result}.0", f"{result}.1"], result))
        edits += 1
    graphs.replace_nodes(made, nodes)
    return made if edits else None


def _norm_folded(case: Case, _: np.random.Generator) -> onnx.ModelProto | None:
    """Fold each batch normalization behind a convolution into it; where there is none, put one there."""
    made, edits = graphs.copied(case.simple), 0
    known = {tensor.name: onnx.numpy_helper.to_array(tensor) for tensor in made.graph.initializer}
    norms = {node.input[0]: node for node in made.graph.node if node.op_type == "BatchNormalization"}
    nodes = []
    for node in made.graph.node:
        norm = norms.get(node.output[0])
        if node in norms.values() and node.input[0].endswith(".folded"):
            continue
        nodes.append(node)
        if node.op_type != "Conv" or node.input[1] not in known or any(one not in known for one in node.input[2:]):
            continue
        result, width = node.output[0], len(known[node.input[1]])
        if norm is not None:
            scale, shift, mean, variance = (known[one] for one in norm.input[1:])
            factor = scale / np.sqrt(variance + next((one.f for one in norm.attribute if one.name == "epsilon"), 1e-5))
            weight = known[node.input[1]]
            bias = known[node.input[2]] if len(node.input) > 2 else np.zeros(width, np.float32)
            names = [graphs.constant(made, f"{result}.w", weight * factor.reshape(-1, *[1] * (weight.ndim - 1)))]
            names.append(graphs.constant(made, f"{result}.b", (bias - mean) * factor + shift))
            node.input[:] = [node.input[0], *names]
            node.output[0] = norm.output[0]
            norm.input[0] = f"{result}.folded"
            edits += 1
        elif not norms:
            node.output[0] = f"{result}.plain"
            ones, zeros = np.ones(width, np.float32), np.zeros(width, np.float32)
            variance = ones * np.float32(1 - 1e-5)
            parts = enumerate((ones, zeros, zeros, variance))
            names = [graphs.constant(made, f"{result}.norm{number}", values) for number, values in parts]
            nodes.append(graphs.node("BatchNormalization", [f"{result}.plain", *names], result))
            edits += 1
    graphs.replace_nodes(made, [node for node in nodes if not node.input[:1] or not node.input[0].endswith(".folded")])
    return made if edits else None


def _instead(values: NDArray[Any], _: NDArray[Any]) -> NDArray[Any]:
    return values


def _eight_bit_weights(case: Case, _: np.random.Generator) -> onnx.ModelProto:
    """Round the weights to 8 bits for each output channel; compute in floating point."""
    made = case.simple
    for _place, node, values in graphs.layers(case.simple, "Conv", "MatMul", "Gemm"):
        axis = 0 if node.op_type == "Conv" or any(one.name == "transB" and one.i for one in node.attribute) else -1
        others = tuple(one for one in range(values.ndim) if one != axis % values.ndim)
        scale = np.maximum(np.abs(values).max(others, keepdims=True) / 127, 1e-12)
        rounded = np.round(values / scale) * scale
        made = graphs.edit_weights(made, [node.input[1]], partial(_instead, rounded))
    return made


def _fp16_everywhere(case: Case, _: np.random.Generator) -> onnx.ModelProto:
    return in_fp16(case.simple)


def _int8_of_half(case: Case, _: np.random.Generator) -> onnx.ModelProto:
    """Convert the second half of the layers that the good INT8 copy has in INT8."""
    first, last = case.subject.spared
    return case.in_int8(spared=((1 + first - last) / 2, last))


SOUND: Mapping[str, tuple[str, Change]] = {
    "constants folded": ("fp32", _simplified),
    "optimized, basic": ("fp32", lambda case, _: graphs.optimized(case.model, "BASIC")),
    "optimized, all": ("fp32", lambda case, _: graphs.optimized(case.model, "ALL")),
    "newer opset": ("fp32", _newer_opset),
    "identities, shapes inferred": ("fp32", _identities),
    "biases apart": ("fp32", _bias_apart),
    "other order of sums": ("fp32", _other_sums),
    "batch norms folded": ("fp32", _norm_folded),
    "noise 1e-6": ("fp32", _noise(1e-6)),
    "weights in fp16": ("fp16", _rounded(np.float16)),
    "all tensors in fp16": ("fp16", _fp16_everywhere),
    "noise 3e-4": ("fp16", _noise(3e-4)),
    "weights in bf16": ("bf16", _rounded(ml_dtypes.bfloat16)),
    "weights in 8 bits": ("int8", _eight_bit_weights),
    "int8": ("int8", lambda case, _: case.in_int8()),
    "int8, ends spared": ("int8", lambda case, _: case.good_int8),
    "int8, percentile, ends spared": ("int8", lambda case, _: case.in_int8("percentile", spared=case.subject.spared)),
    "int8, half of these layers": ("int8", _int8_of_half),
    "int8, all operators": ("int8", lambda case, _: case.in_int8(layout="onnxruntime")),
}
"""The sound changes by name, each with the precision whose tolerances it is judged by. ``None``: nothing to change."""
