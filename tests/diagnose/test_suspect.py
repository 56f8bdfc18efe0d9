from __future__ import annotations

from functools import partial

import numpy as np
import onnx
import pytest
from onnx import helper, numpy_helper

from benchmarks.parity.planting import stands
from hil.diagnose.bisect import diagnose


def attention(scale: float | None = None) -> onnx.ModelProto:
    """Return a model of softmax(image) @ values; ``scale`` adds two Q/DQ pairs and a Flatten before the softmax."""
    constants = {"values": np.random.default_rng(1).normal(size=(8, 4)).astype(np.float32)}
    nodes = []
    if scale is not None:
        constants |= {"scale": np.float32(scale), "zero": np.int8(0)}
        nodes = [
            helper.make_node("QuantizeLinear", ["logits", "scale", "zero"], ["q1"]),
            helper.make_node("DequantizeLinear", ["q1", "scale", "zero"], ["logits_DequantizeLinear_Output"]),
            helper.make_node("Flatten", ["logits_DequantizeLinear_Output"], ["flat"]),
            helper.make_node("QuantizeLinear", ["flat", "scale", "zero"], ["q2"]),
            helper.make_node("DequantizeLinear", ["q2", "scale", "zero"], ["flat_DequantizeLinear_Output"]),
        ]
    read = nodes[-1].output[0] if nodes else "logits"
    graph = helper.make_graph(
        [
            helper.make_node("Mul", ["image", "gain"], ["logits"], name="mul"),
            *nodes,
            helper.make_node("Softmax", [read], ["weights"], name="softmax"),
            helper.make_node("MatMul", ["weights", "values"], ["out"], name="sum"),
        ],
        "attention",
        [helper.make_tensor_value_info("image", onnx.TensorProto.FLOAT, ["n", 8])],
        [helper.make_tensor_value_info("out", onnx.TensorProto.FLOAT, ["n", 4])],
        [numpy_helper.from_array(np.asarray(a), name) for name, a in {**constants, "gain": np.float32(1)}.items()],
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)


@pytest.mark.parametrize(("factor", "named"), [(1, []), (8, ["softmax"])])
def test_a_node_that_quantizes_its_operand_again_may_round_it(factor: float, named: list[str]) -> None:
    """A second Q/DQ pair before a node is a fault of that node only if the pair's range is wrong."""
    image = np.random.default_rng(0).normal(size=(32, 8)).astype(np.float32)
    image[0, 0] = 30  # the steps are wide for the rest
    fed, scale = {"image": image}, factor * 30 / 127
    culprits = diagnose(attention(), attention(scale), fed, "int8").culprits
    found = [one for one in culprits if one.seen.node.name == "softmax"]
    assert [one.seen.node.name for one in found] == named


def table(gain: float, scale: float | None = None) -> onnx.ModelProto:
    """Return a model with 8 columns of slice 0; column 0 adds ``gain`` times slice 1. ``scale`` adds a Q/DQ pair."""
    weights = np.ones((2, 8), np.float32) * np.array([[1], [0]], np.float32)
    weights[1, 0] = gain
    constants = {"weights": weights, "one": np.float32(1)}
    nodes = []
    if scale is not None:
        constants |= {"scale": np.float32(scale), "zero": np.int8(0)}
        nodes = [
            helper.make_node("QuantizeLinear", ["both", "scale", "zero"], ["q"]),
            helper.make_node("DequantizeLinear", ["q", "scale", "zero"], ["both_DequantizeLinear_Output"]),
        ]
    graph = helper.make_graph(
        [
            helper.make_node("Mul", ["image", "one"], ["both"], name="both"),
            *nodes,
            helper.make_node("Transpose", [nodes[-1].output[0] if nodes else "both"], ["turned"], perm=[0, 2, 1]),
            helper.make_node("MatMul", ["turned", "weights"], ["out"], name="sum"),
        ],
        "table",
        [helper.make_tensor_value_info("image", onnx.TensorProto.FLOAT, ["n", 2, 4])],
        [helper.make_tensor_value_info("out", onnx.TensorProto.FLOAT, ["n", 4, 8])],
        [numpy_helper.from_array(np.asarray(array), name) for name, array in constants.items()],
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)


@pytest.mark.parametrize(("gain", "named"), [(18, []), (100, []), (400, ["both"])])
def test_a_lost_slice_is_judged_by_what_fails_parity(gain: float, named: list[str]) -> None:
    """A range that is too coarse for one slice is a fault only if the outputs fail parity because of it."""
    random = np.random.default_rng(0)
    image = random.normal(size=(64, 2, 4)).astype(np.float32)
    scale = float(np.abs(image).max()) / 127
    image[:, 1] = random.uniform(-scale / 2, scale / 2, (64, 4))
    culprits = diagnose(
        table(gain), table(gain, scale), {"image": image}, "int8", stands=partial(stands, "int8")
    ).culprits
    assert [one.seen.node.name for one in culprits] == named
