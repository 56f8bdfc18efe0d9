"""Real graphs for planting faults: the bundled examples, and networks of the ONNX package's own backend tests.

The package contains the graphs of SqueezeNet, ShuffleNet, ResNet-50 and Inception v1 with constants instead of weights;
here they get random weights, by He's rule (He et al., 2015). A small transformer encoder is built node by node. A seed
gives the same graph on every machine.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt
import onnx
from onnx import TensorProto, helper, numpy_helper, version_converter

from hil.diagnose.graph import Graph
from hil.diagnose.running import on_host
from hil.diagnose.variants import marked

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

Array = npt.NDArray[Any]
Feeds = dict[str, Array]

ROOT = Path(__file__).parent.parent.parent
OPSET, IR_VERSION = 13, 8
IMAGE = (3, 224, 224)
SEQUENCE, WIDTH, HEADS, LAYERS = 16, 64, 4, 2
SPREAD = 1.5
TRUNK = 0.5
"""Scale of the branch that is added to a residual trunk, so that values do not grow over sixteen blocks."""


@dataclass(frozen=True)
class Case:
    """A model with its data; ``samples(count, seed)`` returns ``count`` feeds of one sample each.

    ``floating`` names the nodes that stay in floating point in a healthy INT8 engine.
    """

    name: str
    model: onnx.ModelProto
    samples: Callable[[int, int], list[Feeds]]
    floating: tuple[str, ...] = ()


def bundled(name: str) -> Case:
    """Return ``digits`` or ``arm`` with its own weights."""
    folder = ROOT / "examples" / name
    model = onnx.load(str(folder / "model.onnx"))
    inputs = [value.name for value in model.graph.input]

    def samples(count: int, seed: int) -> list[Feeds]:
        with np.load(folder / "validation.npz", allow_pickle=False) as arrays:
            rows = np.random.default_rng(seed).permutation(len(arrays[inputs[0]]))[:count]
            return [{key: arrays[key][row : row + 1] for key in inputs} for row in rows]

    return Case(name, model, samples)


def light(name: str, seed: int) -> Case:
    """Return one of the ONNX package's networks, with weights drawn by ``seed``."""
    path = Path(onnx.__file__).parent / "backend" / "test" / "data" / "light" / f"light_{name}.onnx"
    model = onnx.load(str(path))
    _fill(model, np.random.default_rng(seed))
    model.ir_version = IR_VERSION  # earlier: initializers are inputs too
    model = version_converter.convert_version(model, OPSET)
    for number, node in enumerate(model.graph.node):
        node.name = f"{node.op_type}_{number}"
    entry = model.graph.input[0].name
    _scale_logits(model, {entry: _image(seed)})

    def samples(count: int, seed: int) -> list[Feeds]:
        return [{entry: _image(seed * 1000 + number)} for number in range(count)]

    return Case(name, model, samples)


def _image(seed: int) -> Array:
    """Return an image [1, 3, 224, 224] of a few plane waves and noise, of about zero mean and unit variance."""
    rng = np.random.default_rng(seed)
    rows, columns = np.meshgrid(*(np.linspace(0, 1, side) for side in IMAGE[1:]), indexing="ij")
    made = rng.normal(0, 0.3, IMAGE)
    for channel in range(len(made)):
        for _ in range(4):
            down, across, phase = rng.uniform(-12, 12), rng.uniform(-12, 12), rng.uniform(0, 2 * np.pi)
            made[channel] += 0.67 * np.sin(2 * np.pi * (down * rows + across * columns) + phase)
    return made[None].astype(np.float32)


def _fill(model: onnx.ModelProto, rng: np.random.Generator) -> None:
    """Replace the ``ConstantOfShape`` nodes with random weights, whose distribution depends on their reader."""
    graph = model.graph
    constants = {tensor.name: numpy_helper.to_array(tensor) for tensor in graph.initializer}
    readers = {name: (node, at) for node in reversed(graph.node) for at, name in enumerate(node.input)}
    drawn = []
    for node in graph.node:
        if node.op_type == "ConstantOfShape":
            shape = tuple(int(size) for size in constants[node.input[0]])
            array = _drawn(readers[node.output[0]], shape, readers, rng)
            drawn.append(numpy_helper.from_array(array.astype(np.float32), node.output[0]))
    others = [node for node in graph.node if node.op_type != "ConstantOfShape"]
    used = {name for node in others for name in node.input}
    left = [tensor for tensor in graph.initializer if tensor.name in used]
    del graph.node[:], graph.initializer[:]
    graph.node.extend(others)
    graph.initializer.extend([*left, *drawn])
    inputs = [value for value in graph.input if value.name in used and value.name not in constants]
    del graph.input[:]
    graph.input.extend(inputs)


def _scale_logits(model: onnx.ModelProto, feeds: Feeds) -> None:
    """Scale the last weight and bias so that the softmax's input has deviation ``SPREAD``: saturation hides faults."""
    graph = Graph(model)
    number = next(n for n, node in enumerate(graph.nodes) if node.op_type == "Softmax")
    logits = on_host(marked(graph, graph.nodes[number].input[:1], {}), feeds)[graph.nodes[number].input[0]]
    while graph.nodes[number].op_type not in {"Gemm", "Conv"}:
        number = graph.makers[graph.nodes[number].input[0]]
    names = graph.nodes[number].input[1:]
    for tensor in model.graph.initializer:
        if tensor.name in names:
            array = numpy_helper.to_array(tensor) * np.float32(SPREAD / logits.std())
            tensor.CopyFrom(numpy_helper.from_array(array.astype(np.float32), tensor.name))


def _drawn(
    reader: tuple[onnx.NodeProto, int],
    shape: tuple[int, ...],
    readers: Mapping[str, tuple[onnx.NodeProto, int]],
    rng: np.random.Generator,
) -> Array:
    node, at = reader
    if node.op_type == "BatchNormalization":
        after = readers.get(node.output[0])
        trunk = TRUNK if after is not None and after[0].op_type in {"Sum", "Add"} else 1.0
        spans = {1: (0.8 * trunk, 1.2 * trunk), 2: (-0.2, 0.2), 3: (-0.2, 0.2), 4: (0.7, 1.3)}
        return rng.uniform(*spans[at], shape)
    if len(shape) > 1:
        return rng.normal(0, np.sqrt(2 / np.prod(shape[1:])), shape)
    return rng.uniform(-0.2, 0.2, shape)


def encoder(seed: int) -> Case:
    """Return a transformer encoder as exporters write it, [batch, 16, 64] to 10 logits: 2 layers, 4 heads."""
    rng = np.random.default_rng(seed)
    nodes: list[onnx.NodeProto] = []
    weights: list[onnx.TensorProto] = []

    def weight(name: str, array: Array) -> str:
        weights.append(numpy_helper.from_array(np.asarray(array), name))
        return name

    def add(op: str, name: str, *inputs: str, **attributes: Any) -> str:
        nodes.append(helper.make_node(op, list(inputs), [f"{name}_out"], name=name, **attributes))
        return f"{name}_out"

    def normal(name: str, x: str) -> str:
        scale = weight(f"{name}.scale", rng.uniform(0.8, 1.2, WIDTH).astype(np.float32))
        bias = weight(f"{name}.bias", rng.uniform(-0.1, 0.1, WIDTH).astype(np.float32))
        return add("LayerNormalization", name, x, scale, bias, axis=-1, epsilon=1e-5)

    def linear(name: str, x: str, wide: int, narrow: int) -> str:
        kernel = weight(f"{name}.weight", rng.normal(0, wide**-0.5, (wide, narrow)).astype(np.float32))
        bias = weight(f"{name}.bias", rng.uniform(-0.3, 0.3, narrow).astype(np.float32))
        return add("Add", f"{name}_bias", add("MatMul", name, x, kernel), bias)

    heads = weight("heads", np.array([0, 0, HEADS, WIDTH // HEADS]))
    joined = weight("joined", np.array([0, 0, WIDTH]))
    root = weight("root", np.float32((WIDTH // HEADS) ** -0.5))
    last = "x"
    for layer in range(LAYERS):
        at = f"layer{layer}"
        x = normal(f"{at}.norm1", last)
        q, k, v = (add("Reshape", f"{at}.{p}_heads", linear(f"{at}.{p}", x, WIDTH, WIDTH), heads) for p in "qkv")
        q = add("Transpose", f"{at}.q_turned", q, perm=[0, 2, 1, 3])
        k = add("Transpose", f"{at}.k_turned", k, perm=[0, 2, 3, 1])
        v = add("Transpose", f"{at}.v_turned", v, perm=[0, 2, 1, 3])
        scores = add("Mul", f"{at}.scaled", add("MatMul", f"{at}.scores", q, k), root)
        mixed = add("MatMul", f"{at}.mixed", add("Softmax", f"{at}.softmax", scores, axis=-1), v)
        mixed = add("Reshape", f"{at}.joined", add("Transpose", f"{at}.mixed_turned", mixed, perm=[0, 2, 1, 3]), joined)
        last = add("Add", f"{at}.residual1", last, linear(f"{at}.out", mixed, WIDTH, WIDTH))
        wide = add("Relu", f"{at}.relu", linear(f"{at}.wide", normal(f"{at}.norm2", last), WIDTH, 4 * WIDTH))
        last = add("Add", f"{at}.residual2", last, linear(f"{at}.narrow", wide, 4 * WIDTH, WIDTH))
    pooled = add("ReduceMean", "pooled", normal("norm", last), axes=[1], keepdims=0)
    out = linear("logits", pooled, WIDTH, 10)
    ends = [
        helper.make_tensor_value_info("x", TensorProto.FLOAT, ["batch", SEQUENCE, WIDTH]),
        helper.make_tensor_value_info(out, TensorProto.FLOAT, ["batch", 10]),
    ]
    graph = helper.make_graph(nodes, "encoder", ends[:1], ends[1:], weights)
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=IR_VERSION)

    def samples(count: int, seed: int) -> list[Feeds]:
        vocabulary = np.random.default_rng(1).normal(0, 1, (50, WIDTH))
        words = np.random.default_rng(seed).integers(0, len(vocabulary), (count, 1, SEQUENCE))
        return [{"x": np.asarray(vocabulary[one], dtype=np.float32)} for one in words]

    return Case("encoder", model, samples)


MAKERS: Mapping[str, Callable[[int], Case]] = {
    "digits": lambda _: bundled("digits"),
    "arm": lambda _: bundled("arm"),
    "encoder": encoder,
    "squeezenet": lambda seed: light("squeezenet", seed),
    "shufflenet": lambda seed: light("shufflenet", seed),
    "resnet50": lambda seed: light("resnet50", seed),
    "inception_v1": lambda seed: light("inception_v1", seed),
}
