"""TensorRT's layout on the building blocks of real networks, checked against its guide to quantized types."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import onnx
import pytest
from hypothesis import given
from hypothesis import strategies as st
from onnx import TensorProto, helper, numpy_helper

from hil.config.spec import CalibrationSpec
from hil.onnx_files.precisions import WEIGHTED
from hil.quantize import quantize, weighted_nodes
from hil.quantize.node_order import sort_nodes
from tests.memory_data import MemoryData

if TYPE_CHECKING:
    from pathlib import Path

Arrays = dict[str, np.ndarray[Any, Any]]
CHANNELS = {"stem": 0, "down": 0, "short": 0, "up": 1, "fc": 0, "plain": 1, "matmul": 1}
"""The axis of output channels in each node's weights, along which TensorRT requires the scales."""


class Network:
    """Builds a graph node by node; each node is named after its output."""

    def __init__(self) -> None:
        self.rng = np.random.default_rng(5)
        self.nodes: list[onnx.NodeProto] = []
        self.weights: Arrays = {}

    def weight(self, name: str, *shape: int) -> str:
        """Add weights with one channel of zeros, as pruning leaves them."""
        values = self.rng.normal(size=shape).astype(np.float32)
        values[0] = 0
        self.weights[name] = values
        return name

    def node(self, op: str, name: str, *inputs: str, **attributes: Any) -> str:
        """Add one node."""
        self.nodes.append(helper.make_node(op, inputs, [name], name=name, **attributes))
        return name

    def conv(self, name: str, source: str, inputs: int, outputs: int, stride: int = 1) -> str:
        """Add a 3 x 3 convolution with bias."""
        weights = self.weight(f"{name}.w", outputs, inputs, 3, 3), self.weight(f"{name}.b", outputs)
        return self.node("Conv", name, source, *weights, pads=[1] * 4, strides=[stride] * 2)


def network(path: Path) -> None:
    """Write a network with residual adds of both kinds, transposed convolution, Gemm and MatMul in several forms."""
    net = Network()
    x = net.node("Relu", "r0", net.conv("stem", "x", 3, 8))
    same = net.node("Relu", "r1", net.node("Add", "add", net.conv("body", x, 8, 8), x))
    down = net.node("Add", "add2", net.conv("down", same, 8, 16, 2), net.conv("short", same, 8, 16, 2))
    up = net.node("ConvTranspose", "up", down, net.weight("up.w", 16, 6, 2, 2), strides=[2, 2])
    flat = net.node("Flatten", "flat", net.node("GlobalAveragePool", "gap", up))
    fc = net.node("Gemm", "fc", flat, net.weight("fc.w", 10, 6), net.weight("fc.b", 10), transB=1)
    plain = net.node("Gemm", "plain", fc, net.weight("plain.w", 10, 7), net.weight("plain.b", 7))
    product = net.node("MatMul", "matmul", plain, net.weight("matmul.w", 7, 5))
    last = net.node("MatMul", "attention", product, net.node("Transpose", "turned", product, perm=[1, 0]))
    graph = helper.make_graph(
        net.nodes,
        "net",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, ["n", 3, 8, 8])],
        [helper.make_tensor_value_info(last, TensorProto.FLOAT, ["n", "n"])],
        [numpy_helper.from_array(values, name) for name, values in net.weights.items()],
    )
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 13)], ir_version=8), str(path))


class Quantized:
    """The quantized graph, by tensor and node."""

    def __init__(self, path: Path) -> None:
        model = onnx.load(str(path))
        onnx.checker.check_model(model, full_check=True)
        self.nodes: list[onnx.NodeProto] = list(model.graph.node)
        self.producers: dict[str, onnx.NodeProto] = {output: node for node in self.nodes for output in node.output}
        self.constants = {one.name: numpy_helper.to_array(one) for one in model.graph.initializer}

    def named(self, name: str) -> onnx.NodeProto:
        """Return the node called ``name``."""
        return next(node for node in self.nodes if node.name == name)

    def quantizer(self, tensor: str) -> onnx.NodeProto:
        """Return the Q node that produces a tensor's INT8 values; the tensor must come from a DQ node."""
        dequantize = self.producers[tensor]
        quantize_node = self.producers[dequantize.input[0]]
        assert (quantize_node.op_type, dequantize.op_type) == ("QuantizeLinear", "DequantizeLinear")
        assert list(quantize_node.input[1:]) == list(dequantize.input[1:])
        return quantize_node


@pytest.fixture(scope="module")
def quantized(tmp_path_factory: pytest.TempPathFactory) -> Quantized:
    """The network in TensorRT's layout."""
    folder = tmp_path_factory.mktemp("layout")
    network(folder / "net.onnx")
    rng = np.random.default_rng(6)
    data = MemoryData(x=rng.normal(size=(8, 3, 8, 8)).astype(np.float32))
    spec = CalibrationSpec(data="c.npz", method="minmax")
    return Quantized(quantize(folder / "net.onnx", folder, data, spec, layout="tensorrt").path)


def test_every_weighted_node_takes_int8_on_both_inputs(quantized: Quantized) -> None:
    """Each convolution and matrix product reads INT8 on both inputs; with Q/DQ on one input it would run in floats."""
    weighted = [node for node in quantized.nodes if node.op_type in WEIGHTED]
    assert {node.name for node in weighted} == {*CHANNELS, "body", "attention"}
    for node in weighted:
        for tensor in node.input[:2]:
            quantized.quantizer(tensor)


def test_biases_stay_float(quantized: Quantized) -> None:
    """Biases stay float32, because TensorRT has no INT32 biases and refuses DQ nodes before them."""
    biases = [node.input[2] for node in quantized.nodes if node.op_type in WEIGHTED and len(node.input) > 2]
    assert biases
    assert all(quantized.constants[name].dtype == np.float32 for name in biases)


def test_ranges_are_symmetric_and_sound(quantized: Quantized) -> None:
    """INT8 zero points are 0, and scales are finite and positive, also for channels of zeros."""
    pairs = [node for node in quantized.nodes if node.op_type in {"QuantizeLinear", "DequantizeLinear"}]
    assert pairs
    for node in pairs:
        scale, zero = (quantized.constants[name] for name in node.input[1:3])
        assert (zero.dtype, int(np.abs(zero).max())) == (np.dtype(np.int8), 0)
        assert np.isfinite(scale).all()
        assert (scale > 0).all()


@pytest.mark.parametrize("name", CHANNELS)
def test_weights_have_a_scale_for_each_output_channel(quantized: Quantized, name: str) -> None:
    """Weights have a scale for each output channel, on the axis of their operator; activations have one per tensor."""
    node = quantized.named(name)
    weights = quantized.quantizer(node.input[1])
    axis = next(attribute.i for attribute in weights.attribute if attribute.name == "axis")
    assert axis == CHANNELS[name]
    values = quantized.constants[weights.input[0]]
    assert quantized.constants[weights.input[1]].shape == (values.shape[axis],)
    assert values.dtype == np.float32  # with a Q node after it: TensorRT 8 accepts no INT8 constants
    assert quantized.constants[quantized.quantizer(node.input[0]).input[1]].shape == ()


def test_a_residual_add_shares_the_quantized_input(quantized: Quantized) -> None:
    """The identity branch of a residual add reads the same Q/DQ pair as the convolution."""
    add, body = quantized.named("add"), quantized.named("body")
    assert add.input[1] == body.input[0]
    assert quantized.quantizer(add.input[1]).input[0] == "r0"


def test_an_output_that_feeds_no_node_is_not_quantized(quantized: Quantized) -> None:
    """An output that no node reads gets no Q/DQ nodes."""
    assert not [node for node in quantized.nodes if node.op_type == "QuantizeLinear" and node.input[0] == "attention"]


def test_weighted_nodes_are_listed_by_name(quantized: Quantized, tmp_path: Path) -> None:
    """``weighted_nodes`` lists the convolutions and matrix products by name."""
    network(tmp_path / "net.onnx")
    assert set(weighted_nodes(tmp_path / "net.onnx")) == {
        node.name for node in quantized.nodes if node.op_type in WEIGHTED
    }


@given(st.permutations(range(7)))
def test_nodes_are_sorted_from_any_order(order: list[int]) -> None:
    """Each node comes after its inputs' producers, including inputs of an ``If``'s branches; no node is lost."""
    then = helper.make_graph(
        [helper.make_node("Identity", ["c"], ["inner"], name="inside")], "then", [], [_scalar("inner")]
    )
    nodes = [
        helper.make_node("Relu", ["x"], ["a"], name="a"),
        helper.make_node("Relu", ["a"], ["b"], name="b"),
        helper.make_node("Add", ["a", "b"], ["c"], name="c"),
        helper.make_node("If", ["flag"], ["d"], name="d", then_branch=then, else_branch=then),
        helper.make_node("Add", ["d", "c"], ["e"], name="e"),
        helper.make_node("Relu", ["b"], ["f"], name="f"),
        helper.make_node("Add", ["e", "f"], ["g"], name="g"),
    ]
    graph = helper.make_graph([nodes[n] for n in order], "g", [_scalar("x"), _scalar("flag")], [_scalar("g")])
    sort_nodes(graph)
    place = {node.name: number for number, node in enumerate(graph.node)}
    assert sorted(place) == list("abcdefg")
    needs = ["ab", "ac", "bc", "cd", "de", "ce", "bf", "eg", "fg"]
    assert all(place[pair[0]] < place[pair[1]] for pair in needs)


def test_a_valid_order_is_kept(tmp_path: Path) -> None:
    """Nodes keep their order if it is valid."""
    network(tmp_path / "net.onnx")
    model = onnx.load(str(tmp_path / "net.onnx"))
    before = [node.name for node in model.graph.node]
    sort_nodes(model.graph)
    assert [node.name for node in model.graph.node] == before


def _scalar(name: str) -> onnx.ValueInfoProto:
    return helper.make_tensor_value_info(name, TensorProto.FLOAT, [])
