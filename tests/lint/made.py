"""Models with one fault each, and the same models without it: what ``hil lint`` must and must not report."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path

FLOAT, INT64, INT8 = TensorProto.FLOAT, TensorProto.INT64, TensorProto.INT8
ORIN, NEW, OLD = "agx-orin-64gb", "7.2", "5.1.2"

Shape = list[Any]


@dataclass(frozen=True)
class Made:
    """A fault: on ``module`` with ``jetpack``, ``rule`` must report ``broken``, and no rule may report ``sound``.

    The finding has ``level`` and contains ``says``. ``also`` are rules that report the fault too.
    """

    rule: str
    broken: Callable[[Path], onnx.ModelProto]
    sound: Callable[[Path], onnx.ModelProto]
    level: str = "bad"
    module: str = ORIN
    jetpack: str = NEW
    says: str = ""
    also: tuple[str, ...] = ()


def built(
    nodes: Sequence[onnx.NodeProto],
    inputs: dict[str, tuple[int, Shape]],
    outputs: dict[str, tuple[int, Shape]],
    weights: dict[str, Any] | None = None,
    opset: int = 17,
) -> onnx.ModelProto:
    """Return a model; ``inputs`` and ``outputs`` have type and shape, ``weights`` are arrays or tensors."""
    fed, made = (
        [helper.make_tensor_value_info(name, kind, shape) for name, (kind, shape) in side.items()]
        for side in (inputs, outputs)
    )
    tensors = [
        value if isinstance(value, TensorProto) else numpy_helper.from_array(np.asarray(value), name)
        for name, value in (weights or {}).items()
    ]
    graph = helper.make_graph(list(nodes), "made", fed, made, tensors)
    domains = {node.domain for node in nodes} - {""}
    opsets = [helper.make_opsetid("", opset), *(helper.make_opsetid(domain, 1) for domain in sorted(domains))]
    return helper.make_model(graph, opset_imports=opsets, ir_version=10)


def node(operator: str, inputs: str, outputs: str, **attributes: Any) -> onnx.NodeProto:
    """Return a node that is named after its first output."""
    return helper.make_node(
        operator, inputs.split(), outputs.split(), name=f"n_{outputs.split(maxsplit=1)[0]}", **attributes
    )


X: dict[str, tuple[int, Shape]] = {"x": (FLOAT, [1, 3, 8, 8])}
Y: dict[str, tuple[int, Shape]] = {"y": (FLOAT, [1, 3, 8, 8])}


def one(operator: str, *, inputs: str = "x", weights: dict[str, Any] | None = None, **more: Any) -> onnx.ModelProto:
    """Return a model of one node from ``x`` to ``y``, both of [1, 3, 8, 8]."""
    opset = more.pop("opset", 17)
    return built([node(operator, inputs, "y", **more)], X, Y, weights, opset)


def relu(_: Path) -> onnx.ModelProto:
    """Return a model that no rule reports."""
    return one("Relu")


def convolution(*, weights: Any = None, **quantized: Any) -> onnx.ModelProto:
    """Return a convolution with Q/DQ nodes; ``quantized`` replaces scales, zero points and axes."""
    kernel = np.ones((4, 3, 1, 1), np.int8)
    given: dict[str, Any] = {
        "xs": np.float32(0.1),
        "xz": np.int8(0),
        "ws": np.full(4, 0.1, np.float32),
        "wz": np.zeros(4, np.int8),
        "axis": 0,
        "xaxis": 1,
    } | quantized
    axes = given.pop("axis"), given.pop("xaxis")
    nodes = [
        node("QuantizeLinear", "x xs xz", "xq", axis=axes[1]),
        node("DequantizeLinear", "xq xs xz", "xd", axis=axes[1]),
        node("DequantizeLinear", "w ws wz", "wd", axis=axes[0]),
        node("Conv", "xd wd", "y"),
    ]
    return built(nodes, X, {"y": (FLOAT, [1, 4, 8, 8])}, {"w": kernel if weights is None else weights, **given})


def float8() -> onnx.ModelProto:
    """Return a product with Q/DQ nodes in FP8."""
    zero = helper.make_tensor("z", TensorProto.FLOAT8E4M3FN, [], [0.0])
    nodes = [
        node("QuantizeLinear", "x s z", "q"),
        node("DequantizeLinear", "q s z", "d"),
        node("QuantizeLinear", "w s z", "wq"),
        node("DequantizeLinear", "wq s z", "wd"),
        node("MatMul", "d wd", "y"),
    ]
    weights = {"s": np.float32(0.1), "z": zero, "w": np.ones((64, 64), np.float32)}
    return built(nodes, {"x": (FLOAT, [1, 64])}, {"y": (FLOAT, [1, 64])}, weights, 19)


def bias(*, quantized: bool) -> onnx.ModelProto:
    """Return a quantized convolution whose bias is int32 and dequantized, or float."""
    model = convolution()
    values = np.ones(4, np.int32 if quantized else np.float32)
    model.graph.initializer.append(numpy_helper.from_array(values, "b"))
    if quantized:
        model.graph.initializer.append(numpy_helper.from_array(np.zeros(4, np.int32), "bz"))
        model.graph.node.insert(0, node("DequantizeLinear", "b ws bz", "bd", axis=0))
    model.graph.node[-1].input.append("bd" if quantized else "b")
    return model


def half_quantized(_: Path) -> onnx.ModelProto:
    """Return a convolution whose input has Q/DQ nodes and whose weights have none."""
    nodes = [
        node("QuantizeLinear", "x s z", "xq"),
        node("DequantizeLinear", "xq s z", "xd"),
        node("Conv", "xd w", "y"),
    ]
    weights = {"s": np.float32(0.1), "z": np.int8(0), "w": np.ones((3, 3, 1, 1), np.float32)}
    return built(nodes, X, Y, weights)


def residual(*, quantized: bool) -> onnx.ModelProto:
    """Return a quantized convolution whose input is added to its output, with or without Q/DQ nodes on that branch."""
    nodes = [
        node("QuantizeLinear", "x s z", "xq"),
        node("DequantizeLinear", "xq s z", "xd"),
        node("DequantizeLinear", "w s z", "wd"),
        node("Conv", "xd wd", "c"),
        node("Add", f"c {'xd' if quantized else 'x'}", "a"),
        node("Relu", "a", "y"),
    ]
    return built(nodes, X, Y, {"s": np.float32(0.1), "z": np.int8(0), "w": np.ones((3, 3, 1, 1), np.int8)})


def computed_scale(_: Path) -> onnx.ModelProto:
    """Return Q/DQ nodes whose scale is computed from the input."""
    nodes = [
        node("ReduceMax", "x", "m", keepdims=0),
        node("QuantizeLinear", "x m z", "q"),
        node("DequantizeLinear", "q m z", "y"),
    ]
    return built(nodes, X, Y, {"z": np.int8(0)})


def constant(values: Any, kind: int) -> onnx.ModelProto:
    """Return a model that compares the input with constant ``values``, in their type."""
    nodes = [node("Cast", "x", "i", to=kind), node("Greater", "i c", "g"), node("Cast", "g", "y", to=FLOAT)]
    return built(nodes, X, Y, {"c": np.asarray(values)})


def sliced(end: int) -> onnx.ModelProto:
    """Return a slice to ``end``, as exporters write it for the rest of an axis."""
    weights = {name: np.array([value], np.int64) for name, value in {"b": 0, "e": end, "a": 2}.items()}
    return one("Slice", inputs="x b e a", weights=weights)


def doubles(*, double: bool) -> onnx.ModelProto:
    """Return a model that computes in float64, or in float32."""
    kind = TensorProto.DOUBLE if double else FLOAT
    nodes = [node("Cast", "x", "d", to=kind), node("Exp", "d", "e"), node("Cast", "e", "y", to=FLOAT)]
    return built(nodes, X, Y)


def typed(kind: int) -> onnx.ModelProto:
    """Return a model that adds in the element type ``kind``."""
    nodes = [node("Cast", "x", "i", to=kind), node("Add", "i i", "s"), node("Cast", "s", "y", to=FLOAT)]
    return built(nodes, X, Y)


def image(*, cast_first: bool) -> onnx.ModelProto:
    """Return a model with a uint8 image that is transposed before or after the cast to float."""
    order = [node("Cast", "x", "c", to=FLOAT), node("Transpose", "c", "y", perm=[0, 3, 1, 2])]
    if not cast_first:
        order = [node("Transpose", "x", "c", perm=[0, 3, 1, 2]), node("Cast", "c", "y", to=FLOAT)]
    return built(order, {"x": (TensorProto.UINT8, [1, 8, 8, 3])}, Y)


def tokens(kind: int) -> onnx.ModelProto:
    """Return a model that looks up integers of the type ``kind``."""
    return built(
        [node("Gather", "t x", "y")],
        {"x": (kind, [1, 4])},
        {"y": (FLOAT, [1, 4, 8])},
        {"t": np.ones((16, 8), np.float32)},
    )


def sized(shape: Shape, out: Shape | None = None) -> onnx.ModelProto:
    """Return a model whose input has the shape ``shape``."""
    return built([node("Relu", "x", "y")], {"x": (FLOAT, shape)}, {"y": (FLOAT, shape if out is None else out)})


def reshaped(*, by_input: bool) -> onnx.ModelProto:
    """Return a model that reshapes to a constant shape, or to the values of an input."""
    inputs = {**X, "shape": (INT64, [2])} if by_input else X
    weights = {} if by_input else {"shape": np.array([1, 192], np.int64)}
    return built([node("Reshape", "x shape", "y")], inputs, {"y": (FLOAT, [1, 192])}, weights)


def external(path: Path, *, whole: bool) -> onnx.ModelProto:
    """Return a model whose weights are in a separate file, which is deleted unless ``whole``."""
    model = built(
        [node("MatMul", "x w", "y")],
        {"x": (FLOAT, [1, 64])},
        {"y": (FLOAT, [1, 64])},
        {"w": np.ones((64, 64), np.float32)},
    )
    tensor = model.graph.initializer[0]
    (path.parent / "w.bin").write_bytes(tensor.raw_data)
    tensor.ClearField("raw_data")
    tensor.data_location = TensorProto.EXTERNAL
    for key, value in {"location": "w.bin", "offset": "0", "length": str(64 * 64 * 4)}.items():
        tensor.external_data.add(key=key, value=value)
    if not whole:
        (path.parent / "w.bin").unlink()
    return model


def large(size: int) -> onnx.ModelProto:
    """Return a model whose activations have ``size`` times ``size`` elements, without any weights."""
    return built(
        [node("Relu", "x", "a"), node("Exp", "a", "b"), node("Neg", "b", "y")],
        {"x": (FLOAT, [1, size, size])},
        {"y": (FLOAT, [1, size, size])},
    )


def function(*, inlined: bool) -> onnx.ModelProto:
    """Return a model that calls a local function, or has its node in place of the call."""
    if inlined:
        return one("Relu")
    model = built([helper.make_node("Block", ["x"], ["y"], name="n_y", domain="own")], X, Y)
    opsets = [helper.make_opsetid("", 17)]
    model.functions.append(
        helper.make_function("own", "Block", ["a"], ["b"], [helper.make_node("Relu", ["a"], ["b"])], opsets)
    )
    return model


def undefined(_: Path) -> onnx.ModelProto:
    """Return a model with a node that reads a tensor that no node produces."""
    return one("Add", inputs="x nothing")


MADE = {
    "an operator that no TensorRT imports": Made("operator", lambda _: _det(), relu, says="Det"),
    "an operator of a newer TensorRT": Made(
        "operator", lambda _: _normalized(), relu, jetpack="5.0.2", says="LayerNorm"
    ),
    "an operator of an unknown domain": Made("domain", lambda _: _custom("Magic"), relu, says="acme:Magic"),
    "an operator of another domain with ONNX's name": Made("domain", lambda _: _custom("Relu"), relu, "warn"),
    "a local function": Made(
        "function", lambda _: function(inlined=False), lambda _: function(inlined=True), jetpack=OLD
    ),
    "a definition of a newer opset": Made(
        "opset", lambda _: _mean(18), lambda _: _mean(17), "warn", jetpack=OLD, says="ReduceMean"
    ),
    "int64 beyond int32": Made(
        "int64", lambda _: constant([2**40], INT64), lambda _: sliced(2**63 - 1), jetpack=OLD, says="1099511627776"
    ),
    "an input of int64": Made(
        "int64", lambda _: tokens(INT64), lambda _: tokens(TensorProto.INT32), "warn", jetpack=OLD
    ),
    "computation in float64": Made("double", lambda _: doubles(double=True), lambda _: doubles(double=False), "warn"),
    "a float64 beyond float32": Made(
        "double",
        lambda _: constant([1e300], TensorProto.DOUBLE),
        lambda _: constant(np.ones(1, np.float32), FLOAT),
        says="1e+300",
    ),
    "a type that TensorRT lacks": Made(
        "type", lambda _: typed(TensorProto.INT16), lambda _: typed(FLOAT), says="int16"
    ),
    "computation in uint8": Made("type", lambda _: image(cast_first=False), lambda _: image(cast_first=True)),
    "dynamic sizes without a profile": Made(
        "dynamic-axes", lambda _: sized([1, 3, "height", "width"]), lambda _: sized(["batch", 3, 8, 8]), "warn"
    ),
    "one placeholder for several sizes": Made(
        "placeholder",
        lambda _: sized(["?", 3, "?", 8]),
        lambda _: sized(["n", 3, 8, 8]),
        "warn",
        also=("dynamic-axes",),
    ),
    "an input that is a shape": Made(
        "shape-input", lambda _: reshaped(by_input=True), lambda _: reshaped(by_input=False), says="n_y"
    ),
    "a zero point that is not 0": Made(
        "zero-point", lambda _: convolution(xz=np.int8(3)), lambda _: convolution(), says="n_xq"
    ),
    "quantization to uint8": Made("quantized-type", lambda _: convolution(xz=np.uint8(0)), lambda _: convolution()),
    "a bias of int32": Made(
        "quantized-type", lambda _: bias(quantized=True), lambda _: bias(quantized=False), says="bias"
    ),
    "weights by input channel": Made(
        "quantized-axis",
        lambda _: convolution(axis=1, ws=np.full(3, 0.1, np.float32), wz=np.zeros(3, np.int8)),
        lambda _: convolution(),
        "warn",
    ),
    "more scales than channels": Made(
        "quantized-axis",
        lambda _: convolution(ws=np.full(5, 0.1, np.float32), wz=np.zeros(5, np.int8)),
        lambda _: convolution(),
    ),
    "an activation by channel": Made(
        "quantized-axis",
        lambda _: convolution(xs=np.full(3, 0.1, np.float32), xz=np.zeros(3, np.int8)),
        lambda _: convolution(),
        "warn",
        says="activation",
    ),
    "a scale of 0": Made("scale", lambda _: convolution(xs=np.float32(0)), lambda _: convolution()),
    "a scale that is computed": Made("scale", computed_scale, lambda _: convolution(), "warn"),
    "weights without Q/DQ nodes": Made("unpaired", half_quantized, lambda _: convolution(), "warn"),
    "a residual branch without Q/DQ nodes": Made(
        "residual", lambda _: residual(quantized=False), lambda _: residual(quantized=True), "warn"
    ),
    "int8 on a module without it": Made(
        "precision", lambda _: convolution(), relu, module="nano-4gb", jetpack="4.6.1", says="int8 needs"
    ),
    "bf16 before TensorRT 10": Made(
        "precision", lambda _: typed(TensorProto.BFLOAT16), lambda _: typed(FLOAT), jetpack=OLD, says="bf16 needs"
    ),
    "fp8 on a GPU without it": Made("precision", lambda _: float8(), lambda _: convolution(), says="fp8 needs"),
    "activations larger than the module": Made(
        "memory", lambda _: large(30_000), lambda _: large(20), module="orin-nano-4gb", says="estimate"
    ),
    "external data that is missing": Made(
        "external-data", lambda path: external(path, whole=False), lambda path: external(path, whole=True), says="w.bin"
    ),
    "a node that draws random numbers": Made(
        "random", lambda _: one("RandomNormalLike"), relu, "warn", says="random numbers"
    ),
    "sparse weights": Made("sparse", lambda _: _sparse(constant=False), relu, says="weight 'w'"),
    "a sparse constant": Made("sparse", lambda _: _sparse(constant=True), relu, says="weight 'w'"),
    "a tensor that nothing makes": Made("invalid", undefined, relu, says="nothing"),
}
"""All faults, by what is wrong with the model."""


def _sparse(*, constant: bool) -> onnx.ModelProto:
    values, places = np.ones(1, np.float32), np.array([3], np.int64)
    sparse = helper.make_sparse_tensor(
        numpy_helper.from_array(values, "w"), numpy_helper.from_array(places), [1, 3, 8, 8]
    )
    model = one("Add", inputs="x w")
    if constant:
        model.graph.node.insert(0, node("Constant", "", "w", sparse_value=sparse))
    else:
        model.graph.sparse_initializer.append(sparse)
    return model


def _det() -> onnx.ModelProto:
    return built([node("Det", "x", "y")], X, {"y": (FLOAT, [1, 3])})


def _normalized() -> onnx.ModelProto:
    return one("LayerNormalization", inputs="x w", weights={"w": np.ones(8, np.float32)})


def _custom(operator: str) -> onnx.ModelProto:
    return one(operator, domain="acme")


def _mean(opset: int) -> onnx.ModelProto:
    axes: dict[str, Any] = {"axes": [1]} if opset < 18 else {}
    weights = {} if opset < 18 else {"axes": np.array([1], np.int64)}
    made = node("ReduceMean", "x" if opset < 18 else "x axes", "y", **axes)
    return built([made], X, {"y": (FLOAT, [1, 1, 8, 8])}, weights, opset)
