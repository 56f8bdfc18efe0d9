"""Make the network of the control: a few convolutions, the same in every session and on every target of one kind."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

OPSET, IR = 11, 6
"""Versions of ONNX that the oldest supported runtimes can read: those of JetPack 4."""


class Workload(NamedTuple):
    """The size of the network: ``layers`` convolutions of 3 x 3 over ``channels`` x ``side`` x ``side`` values."""

    name: str
    channels: int
    side: int
    layers: int


ON_CPU = Workload("convolutions v1, 16 x 32 x 32, 4 layers", 16, 32, 4)
"""About 19 million multiplications and additions: 0.3 ms on two cores of a PC, some milliseconds on a Jetson Nano."""

ON_GPU = Workload("convolutions v1, 64 x 64 x 64, 6 layers", 64, 64, 6)
"""About 1.8 billion multiplications and additions: 0.2 ms on a data-centre GPU, 15 ms on a Jetson Nano. A smaller
network would mostly time the launch of its kernels."""


def network(workload: Workload) -> bytes:
    """Return the network as an ONNX file with one fixed input and one output; its weights are always the same."""
    from onnx import TensorProto, helper

    channels, side = workload.channels, workload.side
    count = channels * channels * 9
    weights = (np.sin(np.arange(count, dtype=np.float64) * 0.7) * np.sqrt(4 / (channels * 9))).astype(np.float32)
    shape = [1, channels, side, side]
    nodes, last = [], "x"
    for layer in range(workload.layers):
        nodes.append(helper.make_node("Conv", [last, "w"], [f"c{layer}"], pads=[1, 1, 1, 1]))
        last = "y" if layer == workload.layers - 1 else f"r{layer}"
        nodes.append(helper.make_node("Relu", [f"c{layer}"], [last]))
    graph = helper.make_graph(
        nodes,
        "control",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, shape)],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, shape)],
        [helper.make_tensor("w", TensorProto.FLOAT, [channels, channels, 3, 3], weights.tobytes(), raw=True)],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", OPSET)], ir_version=IR)
    model.producer_name = "pytest-hil"
    content: bytes = model.SerializeToString(deterministic=True)
    return content
