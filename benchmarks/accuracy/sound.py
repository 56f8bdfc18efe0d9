"""Sound changes of a model, as exporters, optimizers and INT8 calibration make them."""

from __future__ import annotations

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
    Edit = Callable[[onnx.ModelProto, int, onnx.NodeProto], list[onnx.NodeProto] | None]


def _weights(change: Callable[[NDArray[Any], np.random.Generator], Any]) -> Change:
    """Return the change of all weights."""

    def made(case: Case, random: np.random.Generator) -> onnx.ModelProto:
        known = graphs.weights(case.simple)
        return graphs.with_weights(case.simple, {name: change(values, random) for name, values in known.items()})

    return made


def _noise(share: float) -> Change:
    return _weights(lambda values, random: values + random.standard_normal(values.shape) * values.std() * share)


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


def _rewritten(case: Case, edit: Edit) -> onnx.ModelProto | None:
    """Return the model with each node replaced by the nodes that ``edit(model, place, node)`` returns.

    A node for which ``edit`` returns ``None`` stays. Return ``None`` if all nodes stay.
    """
    made, edits = graphs.copied(case.simple), 0
    nodes: list[onnx.NodeProto] = []
    for place, node in enumerate(made.graph.node):
        others = edit(made, place, node)
        edits += others is not None
        nodes += [node] if others is None else others
    graphs.replace_nodes(made, nodes)
    return made if edits else None


def _constants(model: onnx.ModelProto) -> dict[str, NDArray[Any]]:
    return {tensor.name: onnx.numpy_helper.to_array(tensor) for tensor in model.graph.initializer}


def _number(node: onnx.NodeProto, name: str, default: float) -> float:
    return next((one.i or one.f for one in node.attribute if one.name == name), default)


def _identities(case: Case, _: np.random.Generator) -> onnx.ModelProto | None:
    outputs = {one.name for one in case.simple.graph.output}

    def edit(_: onnx.ModelProto, place: int, node: onnx.NodeProto) -> list[onnx.NodeProto] | None:
        name = node.output[0]
        if place % 3 or name in outputs or len(node.output) > 1:
            return None
        node.output[0] = f"{name}.early"
        return [node, graphs.node("Identity", [f"{name}.early"], name)]

    made = _rewritten(case, edit)
    return made and onnx.shape_inference.infer_shapes(made)


def _bias_apart(case: Case, _: np.random.Generator) -> onnx.ModelProto | None:
    """Add the biases of convolutions and matrix products in separate nodes."""
    known = _constants(case.simple)

    def edit(made: onnx.ModelProto, _: int, node: onnx.NodeProto) -> list[onnx.NodeProto] | None:
        if node.op_type not in {"Conv", "Gemm"} or len(node.input) < 3 or not known.keys() >= {*node.input[1:]}:
            return None
        if _number(node, "beta", 1.0) != 1:
            return None
        bias, result = known[node.input[2]], node.output[0]
        if node.op_type == "Conv":
            bias = bias.reshape(1, -1, *[1] * (known[node.input[1]].ndim - 2))
        del node.input[2]
        node.output[0] = f"{result}.plain"
        return [node, graphs.node("Add", [f"{result}.plain", graphs.constant(made, f"{result}.apart", bias)], result)]

    return _rewritten(case, edit)


def _other_sums(case: Case, _: np.random.Generator) -> onnx.ModelProto | None:
    """Compute each convolution and product as the sum of two, each over half of the input channels."""
    places = {place: values for place, _, values in graphs.layers(case.simple, ("Conv", "MatMul"))}

    def edit(made: onnx.ModelProto, place: int, node: onnx.NodeProto) -> list[onnx.NodeProto] | None:
        values, axis = places.get(place), int(node.op_type == "Conv")
        if values is None or values.shape[axis] < 2 or (values.ndim != 2 and not axis) or _number(node, "group", 1) > 1:
            return None
        half, result, nodes = values.shape[axis] // 2, node.output[0], []
        for part, span in enumerate(((0, half), (half, values.shape[axis]))):
            slices = [*span, 1 if axis else -1]
            ends = [graphs.constant(made, f"{result}.{part}.{n}", np.array([one])) for n, one in enumerate(slices)]
            again = onnx.NodeProto.FromString(node.SerializeToString())
            again.name, again.output[0] = f"{node.name}.{part}", f"{result}.{part}"
            some = graphs.constant(made, f"{result}.{part}.w", np.take(values, range(*span), axis))
            again.input[:] = [f"{result}.{part}.in", some, *(() if part else node.input[2:])]
            nodes += [graphs.node("Slice", [node.input[0], *ends], f"{result}.{part}.in"), again]
        return [*nodes, graphs.node("Add", [f"{result}.0", f"{result}.1"], result)]

    return _rewritten(case, edit)


def _norm_folded(case: Case, _: np.random.Generator) -> onnx.ModelProto | None:
    """Fold each batch normalization into the convolution before it; add one after each other convolution."""
    known = _constants(case.simple)
    norms = {node.input[0]: node for node in case.simple.graph.node if node.op_type == "BatchNormalization"}
    folded = set()

    def edit(made: onnx.ModelProto, _: int, node: onnx.NodeProto) -> list[onnx.NodeProto] | None:
        if node.output[0] in folded:
            return []
        if node.op_type != "Conv" or not known.keys() >= {*node.input[1:]}:
            return None
        result, weight = node.output[0], known[node.input[1]]
        width, norm = len(weight), norms.get(result)
        if norm is not None:
            scale, shift, mean, variance = (known[one] for one in norm.input[1:])
            factor = scale / np.sqrt(variance + _number(norm, "epsilon", 1e-5))
            bias = known[node.input[2]] if len(node.input) > 2 else np.zeros(width, np.float32)
            weight, bias = weight * factor.reshape(-1, *[1] * (weight.ndim - 1)), (bias - mean) * factor + shift
            names = [graphs.constant(made, f"{result}.{n}", one) for n, one in (("w", weight), ("b", bias))]
            node.input[1:], node.output[0] = names, norm.output[0]
            folded.add(norm.output[0])
            return [node]
        if norms:
            return None
        node.output[0] = f"{result}.plain"
        ones, zeros = np.ones(width, np.float32), np.zeros(width, np.float32)
        parts = enumerate((ones, zeros, zeros, ones * np.float32(1 - 1e-5)))
        names = [graphs.constant(made, f"{result}.norm{number}", values) for number, values in parts]
        return [node, graphs.node("BatchNormalization", [f"{result}.plain", *names], result)]

    return _rewritten(case, edit)


def _eight_bit_weights(case: Case, _: np.random.Generator) -> onnx.ModelProto:
    """Round the weights to 8 bits for each output channel; compute in floating point."""
    rounded = {}
    for _place, node, values in graphs.layers(case.simple, ("Conv", "MatMul", "Gemm")):
        axis = 0 if node.op_type == "Conv" or _number(node, "transB", 0) else -1
        others = tuple(one for one in range(values.ndim) if one != axis % values.ndim)
        scale = np.maximum(np.abs(values).max(others, keepdims=True) / 127, 1e-12)
        rounded[node.input[1]] = np.round(values / scale) * scale
    return graphs.with_weights(case.simple, rounded)


def _int8_of_half(case: Case, _: np.random.Generator) -> onnx.ModelProto:
    """Convert only the second half of the layers that are INT8 in the good INT8 copy."""
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
    "weights in fp16": ("fp16", _weights(lambda values, _: values.astype(np.float16))),
    "all tensors in fp16": ("fp16", lambda case, _: in_fp16(case.simple)),
    "noise 3e-4": ("fp16", _noise(3e-4)),
    "weights in bf16": ("bf16", _weights(lambda values, _: values.astype(ml_dtypes.bfloat16))),
    "weights in 8 bits": ("int8", _eight_bit_weights),
    "int8": ("int8", lambda case, _: case.in_int8()),
    "int8, ends spared": ("int8", lambda case, _: case.good_int8),
    "int8, percentile, ends spared": ("int8", lambda case, _: case.in_int8("percentile", spared=case.subject.spared)),
    "int8, half of these layers": ("int8", _int8_of_half),
    "int8, all operators": ("int8", lambda case, _: case.in_int8(layout="onnxruntime")),
}
"""The sound changes by name, each with the precision whose tolerances apply to the changed model.

A change returns ``None`` if the model has nothing to change."""
