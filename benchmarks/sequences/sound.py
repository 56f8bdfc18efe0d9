"""Sound variants of recurrent models, as exporters, optimizers and precisions make them of one graph."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import ml_dtypes
import numpy as np
import onnx
from onnx import helper, numpy_helper, version_converter

from benchmarks.accuracy import graphs
from benchmarks.parity.engines import in_fp16

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from benchmarks.sequences.models import Recurrent

    Change = Callable[[Recurrent, np.random.Generator], onnx.ModelProto | None]

NOISE = 1e-6
GATES = {"LSTM": 4, "GRU": 3}


def _rounded(dtype: Any) -> Change:
    """Return a change that rounds all weights to ``dtype``."""

    def change(model: Recurrent, _: np.random.Generator) -> onnx.ModelProto:
        return _edited(model.model, lambda values: values.astype(dtype))

    return change


def _edited(model: onnx.ModelProto, edit: Callable[[Any], Any]) -> onnx.ModelProto:
    """Return ``model`` with ``edit`` applied to all float weights."""
    made = graphs.copied(model)
    for tensor in made.graph.initializer:
        if tensor.data_type == onnx.TensorProto.FLOAT:
            values = np.asarray(edit(numpy_helper.to_array(tensor)), np.float32)
            tensor.CopyFrom(numpy_helper.from_array(values, tensor.name))
    return made


def _noise(model: Recurrent, rng: np.random.Generator) -> onnx.ModelProto:
    """Change each weight by about one rounding error of FP32."""
    return _edited(model.model, lambda values: values * (1 + NOISE * rng.standard_normal(values.shape)))


def _eight_bits(model: Recurrent, _: np.random.Generator) -> onnx.ModelProto:
    """Round the matrices to 8 bits for each column, or for each row of a recurrent operator."""
    made = graphs.copied(model.model)
    for tensor in made.graph.initializer:
        if tensor.data_type == onnx.TensorProto.FLOAT and len(tensor.dims) >= 2 and min(tensor.dims[-2:]) > 1:
            values = numpy_helper.to_array(tensor)
            scale = np.abs(values).max(axis=-1 if values.ndim == 3 else 0, keepdims=True) / 127
            tensor.CopyFrom(numpy_helper.from_array((np.round(values / scale) * scale).astype(np.float32), tensor.name))
    return made


def _optimized(level: str) -> Change:
    return lambda model, _: graphs.optimized(model.model, level)


def _renamed(model: Recurrent, rng: np.random.Generator) -> onnx.ModelProto:
    """Rename nodes, weights and inner tensors; inputs and outputs keep their names."""
    made = graphs.copied(model.model)
    ends = {value.name for value in (*made.graph.input, *made.graph.output)}
    inner = {name for node in made.graph.node for name in node.output if name} | {
        one.name for one in made.graph.initializer
    }
    numbers = rng.permutation(len(inner))
    names = {name: f"t{number}" for name, number in zip(sorted(inner - ends), numbers, strict=False)}
    for tensor in made.graph.initializer:
        tensor.name = names.get(tensor.name, tensor.name)
    for number, node in enumerate(made.graph.node):
        node.name = f"op{number}"
        node.input[:] = [names.get(one, one) for one in node.input]
        node.output[:] = [names.get(one, one) for one in node.output]
    return made


def _reordered(model: Recurrent, rng: np.random.Generator) -> onnx.ModelProto:
    """Put the nodes into another order that their tensors allow, and weights and outputs into any other order."""
    made = graphs.copied(model.model)
    known = {""} | {value.name for value in made.graph.input} | {one.name for one in made.graph.initializer}
    left, order = list(made.graph.node), []
    while left:
        ready = [place for place, node in enumerate(left) if set(node.input) <= known]
        node = left.pop(int(rng.choice(ready)))
        known |= set(node.output)
        order.append(node)
    graphs.replace_nodes(made, order)
    for values in (made.graph.initializer, made.graph.output, made.graph.input):
        kept = [values[place] for place in rng.permutation(len(values))]
        copies = [type(one).FromString(one.SerializeToString()) for one in kept]
        del values[:]
        values.extend(copies)
    return made


def _constants(model: Recurrent, _: np.random.Generator) -> onnx.ModelProto:
    """Turn initializers into ``Constant`` nodes."""
    made = graphs.copied(model.model)
    nodes = [
        helper.make_node("Constant", [], [one.name], name=f"{one.name}.c", value=one) for one in made.graph.initializer
    ]
    graphs.replace_nodes(made, [*nodes, *made.graph.node])
    del made.graph.initializer[:]
    return made


def _identities(model: Recurrent, _: np.random.Generator) -> onnx.ModelProto:
    """Put an ``Identity`` after each state input and before each state output."""
    made = model.model
    for taken, given in model.states.items():
        made = graphs.before(made, taken, lambda _, source, result: [graphs.node("Identity", [source], result)])
        made = graphs.after(made, given, lambda _, source, result: [graphs.node("Identity", [source], result)])
    return made


def _newer(opset: int) -> Change:
    return lambda model, _: version_converter.convert_version(model.model, opset)


def _in_fp16(model: Recurrent, _: np.random.Generator) -> onnx.ModelProto:
    """Round weights, states and results to FP16 and add products in FP32, as tensor cores do."""
    return in_fp16(decomposed(model.model))


def _decomposed(model: Recurrent, _: np.random.Generator) -> onnx.ModelProto | None:
    """Write ONNX's recurrent operator as products, sums and activations."""
    return decomposed(model.model) if any(node.op_type in GATES for node in model.model.graph.node) else None


def _halved(model: Recurrent, _: np.random.Generator) -> onnx.ModelProto | None:
    """Compute each product as the sum of two, each over half of the values."""
    made, nodes = decomposed(model.model), []
    known = graphs.weights(made)
    for node in made.graph.node:
        values = known.get(node.input[1]) if node.op_type in {"MatMul", "Gemm"} else None
        if values is None or any(one.name == "transB" for one in node.attribute):
            nodes.append(node)
            continue
        name, half = node.output[0], len(values) // 2
        for part, (first, end) in enumerate(((0, half), (half, len(values)))):
            span = [
                graphs.constant(made, f"{name}.{part}.{key}", np.array([one]))
                for key, one in zip("fea", (first, end, 1), strict=True)
            ]
            nodes.append(graphs.node("Slice", [node.input[0], *span], f"{name}.{part}.in"))
            kernel = graphs.constant(made, f"{name}.{part}.w", values[first:end])
            bias = list(node.input[2:]) if part == 0 else []
            nodes.append(graphs.node(node.op_type, [f"{name}.{part}.in", kernel, *bias], f"{name}.{part}"))
        nodes.append(graphs.node("Add", [f"{name}.0", f"{name}.1"], name))
    graphs.replace_nodes(made, nodes)
    return made


def decomposed(model: onnx.ModelProto) -> onnx.ModelProto:
    """Return the model with ``LSTM`` and ``GRU`` nodes of one step written out, by the formulas of ONNX's operators."""
    made, nodes = graphs.copied(model), []
    known = {one.name: numpy_helper.to_array(one) for one in made.graph.initializer}
    for node in made.graph.node:
        if node.op_type not in GATES:
            nodes.append(node)
            continue
        kernel, again, bias = (known[name][0] for name in node.input[1:4])
        nodes += _written_out(made, node, kernel.T, again.T, np.split(bias, 2))
    graphs.replace_nodes(made, nodes)
    used = {name for node in made.graph.node for name in node.input}
    kept = [one for one in made.graph.initializer if one.name in used]
    del made.graph.initializer[:]
    made.graph.initializer.extend(kept)
    return made


def _written_out(
    made: onnx.ModelProto, node: onnx.NodeProto, kernel: Any, again: Any, bias: Any
) -> list[onnx.NodeProto]:
    """Return the nodes of one recurrent operator; kernels are (inputs, gates) as ``MatMul`` takes them."""
    at, nodes = node.name, []
    units, gates = again.shape[0], GATES[node.op_type]

    def const(name: str, values: Any) -> str:
        return graphs.constant(made, f"{at}.{name}", values)

    def add(kind: str, inputs: list[str], name: str, **attributes: Any) -> str:
        output = name if name in node.output else f"{at}.{name}"
        nodes.append(graphs.node(kind, inputs, output, **attributes))
        return output

    first = const("first", np.array([0]))
    x, h = add("Squeeze", [node.input[0], first], "x"), add("Squeeze", [node.input[5], first], "h")
    driven = add("Add", [add("MatMul", [x, const("W", kernel)], "Wx"), const("Wb", bias[0])], "driven")
    sizes = const("sizes", np.full(gates, units))

    def split(source: str, name: str, count: int) -> list[str]:
        outputs = [f"{at}.{name}{number}" for number in range(count)]
        nodes.append(helper.make_node("Split", [source, sizes], outputs, name=f"{at}.{name}", axis=1))
        return outputs

    if node.op_type == "LSTM":
        recalled = add("Add", [add("MatMul", [h, const("R", again)], "Rh"), const("Rb", bias[1])], "recalled")
        i, o, f, new = split(add("Add", [driven, recalled], "total"), "gate", 4)
        i, o, f = (add("Sigmoid", [one], f"{key}.open") for key, one in zip("iof", (i, o, f), strict=True))
        c = add("Squeeze", [node.input[6], first], "c")
        kept, put = add("Mul", [f, c], "kept"), add("Mul", [i, add("Tanh", [new], "new")], "put")
        cell = add("Add", [kept, put], "cell")
        hidden = add("Mul", [o, add("Tanh", [cell], "cell.bounded")], "hidden")
        add("Unsqueeze", [cell, first], node.output[2])
    else:
        after = any(one.name == "linear_before_reset" and one.i for one in node.attribute)
        (zx, rx, nx) = split(driven, "Wx.part", 3)
        parts = [const(f"R{key}", one) for key, one in zip("zrn", np.split(again, 3, axis=1), strict=True)]
        biases = [const(f"Rb{key}", one) for key, one in zip("zrn", np.split(bias[1], 3), strict=True)]

        def recalled_by(source: str, number: int, name: str) -> str:
            return add("Add", [add("MatMul", [source, parts[number]], f"{name}.R"), biases[number]], f"{name}.recalled")

        z = add("Sigmoid", [add("Add", [zx, recalled_by(h, 0, "z")], "z.total")], "z.open")
        r = add("Sigmoid", [add("Add", [rx, recalled_by(h, 1, "r")], "r.total")], "r.open")
        if after:
            reset = add("Mul", [r, recalled_by(h, 2, "n")], "reset")
        else:
            reset = recalled_by(add("Mul", [r, h], "reset"), 2, "n")
        new = add("Tanh", [add("Add", [nx, reset], "n.total")], "new")
        older = add("Sub", [h, new], "older")
        hidden = add("Add", [new, add("Mul", [z, older], "held")], "hidden")
    add("Unsqueeze", [hidden, first], node.output[1])
    return nodes


SOUND: Mapping[str, tuple[str, Change]] = {
    "optimized, basic": ("fp32", _optimized("BASIC")),
    "optimized, extended": ("fp32", _optimized("EXTENDED")),
    "optimized, all": ("fp32", _optimized("ALL")),
    "renamed": ("fp32", _renamed),
    "reordered": ("fp32", _reordered),
    "weights as constants": ("fp32", _constants),
    "identities at states": ("fp32", _identities),
    "newer opset": ("fp32", _newer(17)),
    "noise 1e-6": ("fp32", _noise),
    "operator written out": ("fp32", _decomposed),
    "other order of sums": ("fp32", _halved),
    "weights in fp16": ("fp16", _rounded(np.float16)),
    "everything in fp16": ("fp16", _in_fp16),
    "weights in bf16": ("bf16", _rounded(ml_dtypes.bfloat16)),
    "weights in 8 bits": ("int8", _eight_bits),
}
"""The sound changes by name, each with the precision whose tolerances apply to the changed model.

A change returns ``None`` if the model has nothing to change."""
