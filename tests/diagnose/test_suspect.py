from __future__ import annotations

import numpy as np
import onnx
import pytest
from onnx import helper, numpy_helper

from hil.diagnose.bisect import diagnose


def attention(scale: float | None = None) -> onnx.ModelProto:
    """Return softmax(image) @ values; with ``scale``, two Q/DQ pairs and a Flatten between them before the softmax."""
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
    """A second Q/DQ pair within a node's part rounds as INT8 does, which is no fault; a wrong range in it is one."""
    image = np.random.default_rng(0).normal(size=(32, 8)).astype(np.float32)
    image[0, 0] = 30  # the steps are wide for the rest
    fed, scale = {"image": image}, factor * 30 / 127
    culprits = diagnose(attention(), attention(scale), fed, "int8").culprits
    found = [one for one in culprits if one.seen.node.name == "softmax"]
    assert [one.seen.node.name for one in found] == named
