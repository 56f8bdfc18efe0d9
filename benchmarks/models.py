"""Synthetic models for benchmarks: chains of convolutions with a chosen inference time.

Convolutions are used because their weights stay in the cache. The time of a memory-bound model would depend on other
processes of the machine.
"""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
import onnx
import onnxruntime
from onnx import TensorProto, helper, numpy_helper

if TYPE_CHECKING:
    from pathlib import Path

    import numpy.typing as npt

OPSET, IR_VERSION = 13, 7
KERNEL = 3
PROBE_LAYERS = 4
PROBE_RUNS = 100


class Shape(NamedTuple):
    """The input [batch, inputs, side, side]; every layer keeps ``side`` and has ``channels`` channels."""

    inputs: int
    channels: int
    side: int


SMALL = Shape(inputs=3, channels=8, side=16)
LARGE = Shape(inputs=3, channels=16, side=64)
LARGE_FROM = 1e-3
"""Seconds from which ``calibrated_chain`` chains large layers instead of small ones."""


def chain(path: Path, shape: Shape, layers: int, *, pooled: bool = False) -> Path:
    """Write ``layers`` convolutions, each followed by ReLU, with input ``x`` [batch, inputs, side, side].

    Output ``y`` is [batch, channels, side, side], or its mean over each channel [batch, channels] if ``pooled``.

    Weights are random by He's rule (He et al., 2015), so that values neither vanish into denormals nor overflow.
    """
    rng = np.random.default_rng(0)
    nodes, weights, last, width = [], [], "x", shape.inputs
    for layer in range(1, layers + 1):
        scale = np.sqrt(2 / (width * KERNEL**2))
        values = rng.normal(0, scale, (shape.channels, width, KERNEL, KERNEL)).astype(np.float32)
        weights.append(numpy_helper.from_array(values, f"w{layer}"))
        nodes.append(helper.make_node("Conv", [last, f"w{layer}"], [f"c{layer}"], name=f"conv{layer}", pads=[1] * 4))
        nodes.append(helper.make_node("Relu", [f"c{layer}"], [f"r{layer}"], name=f"relu{layer}"))
        last, width = f"r{layer}", shape.channels
    if pooled:
        nodes.append(helper.make_node("ReduceMean", [last], ["y"], name="mean", axes=[2, 3], keepdims=0))
    else:
        nodes[-1].output[0] = "y"
    sides = [shape.side, shape.side]
    ends = [
        helper.make_tensor_value_info("x", TensorProto.FLOAT, ["batch", shape.inputs, *sides]),
        helper.make_tensor_value_info("y", TensorProto.FLOAT, ["batch", shape.channels, *([] if pooled else sides)]),
    ]
    graph = helper.make_graph(nodes, "chain", ends[:1], ends[1:], weights)
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", OPSET)], producer_name="pytest-hil")
    model.ir_version = IR_VERSION
    onnx.save(model, path)
    return path


def sample(shape: Shape) -> npt.NDArray[np.float32]:
    """Return one input, uniform in 0..1."""
    return np.random.default_rng(1).random((1, shape.inputs, shape.side, shape.side), np.float32)


def seconds_a_run(path: Path, shape: Shape, threads: int) -> float:
    """Return the fastest of some inferences with batch 1, in seconds: the time without other load."""
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    session = onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
    feed = {"x": sample(shape)}
    durations = []
    for _ in range(PROBE_RUNS):
        before = time.perf_counter()
        session.run(["y"], feed)
        durations.append(time.perf_counter() - before)
    return min(durations)


def calibrated_chain(path: Path, seconds: float, threads: int) -> Shape:
    """Write a chain that takes about ``seconds`` on this machine with ``threads`` threads, and return its shape."""
    shape = LARGE if seconds >= LARGE_FROM else SMALL
    short = seconds_a_run(chain(path, shape, PROBE_LAYERS), shape, threads)
    long = seconds_a_run(chain(path, shape, 3 * PROBE_LAYERS), shape, threads)
    layer = max((long - short) / (2 * PROBE_LAYERS), 1e-6)
    chain(path, shape, max(1, PROBE_LAYERS + round((seconds - short) / layer)))
    return shape
