"""The diagnosis on a real GPU: it names the first node that differs in TensorRT's engine, and the cause."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import onnx
import pytest
from onnx import helper, numpy_helper

from hil.results import Row
from tests import models

if TYPE_CHECKING:
    from tests.gpu.board import Board

DEPLOYED = """
[models.spoilt]
path = "net.onnx"
deployed = "spoilt.onnx"
data = "validation.npz"
precisions = ["{precision}"]
calibration = {{ data = "calibration.npz", method = "minmax" }}
"""
LOUD = """
[models.loud]
path = "loud.onnx"
data = "loud.npz"
precisions = ["fp16"]
"""
WIDTH, SIDE = 64, 128


def changed(board: Board, source: str, target: str, **factors: float) -> None:
    """Write a copy of a model with constants multiplied."""
    model = onnx.load(str(board.root / source))
    for tensor in model.graph.initializer:
        if tensor.name in factors:
            array = (numpy_helper.to_array(tensor) * np.float32(factors[tensor.name])).astype(np.float32)
            tensor.CopyFrom(numpy_helper.from_array(array, tensor.name))
    onnx.save(model, str(board.root / target))


@pytest.mark.parametrize("precision", ["fp32", "fp16"])
def test_a_changed_weight_is_found_in_the_engine(board: Board, precision: str) -> None:
    """With a dense layer halved in the deployed graph, the engine is out of tolerance and that node is named."""
    changed(board, "net.onnx", "spoilt.onnx", dense=0.5)
    session = board.session(DEPLOYED.format(precision=precision))
    result = board.ask(session, "parity.outputs", "spoilt", precision)
    assert result.verdict.value == "failed"
    culprits = result.details["diagnosis"]["culprits"]
    assert [one["seen"]["node"]["name"] for one in culprits] == ["head"], result.details["diagnosis"]
    assert culprits[0]["cause"] == "scale"
    assert culprits[0]["after"] < 0.05 < culprits[0]["before"]
    assert (session.report_dir / result.details["repro"] / "repro.py").is_file()


def loud(board: Board) -> None:
    """Write two convolutions: the first gives values of about 10^5, the second scales them back.

    FP16 can represent the weights, and the layers are so wide that TensorRT runs them in FP16.
    """
    random = np.random.default_rng(0)
    kernels = [random.normal(0, size, (WIDTH, WIDTH, 3, 3)).astype(np.float32) for size in (3e3, 1e-3)]
    nodes = [
        helper.make_node("Conv", ["x", "first"], ["huge"], name="first", pads=[1] * 4),
        helper.make_node("Relu", ["huge"], ["lit"], name="relu"),
        helper.make_node("Conv", ["lit", "second"], ["small"], name="second", pads=[1] * 4),
        helper.make_node("GlobalAveragePool", ["small"], ["y"], name="mean"),
    ]
    shapes = {"x": [1, WIDTH, SIDE, SIDE]}, {"y": [1, WIDTH, 1, 1]}
    models.write(board.root / "loud.onnx", nodes, *shapes, dict(zip(("first", "second"), kernels, strict=True)))
    np.savez(board.root / "loud.npz", x=random.normal(0, 1, (8, WIDTH, SIDE, SIDE)).astype(np.float32))


def test_an_overflow_in_fp16_is_found_in_the_engine(board: Board) -> None:
    """If activations overflow FP16 and the next layer scales them back, the node and the overflow are named."""
    loud(board)
    session = board.session(LOUD)
    result = board.ask(session, "parity.outputs", "loud", "fp16")
    assert result.verdict.value == "failed", result.reason
    culprits = result.details["diagnosis"]["culprits"]
    assert culprits, result.details["diagnosis"]
    assert culprits[0]["seen"]["node"]["name"] in {"first", "relu"}
    assert culprits[0]["cause"] == "overflow in FP16"


@pytest.mark.parametrize("precision", ["fp32", "fp16", "int8"])
def test_a_healthy_engine_is_not_accused(board: Board, precision: str) -> None:
    """TensorRT's kernels, fusions and precisions on a valid graph give no culprit."""
    from hil.diagnose import sentences
    from hil.session.diagnosing import examine, worst_batch
    from hil.session.gather.parity import compared

    models.convnet(board.root / "spoilt.onnx", batch=1)
    row = Row(id="parity.outputs", model="spoilt", precision=precision, required=True)
    session = board.session(DEPLOYED.format(precision=precision).replace('deployed = "spoilt.onnx"\n', ""))
    comparison = compared(session, row).comparison
    diagnosis = examine(session, "spoilt", precision, lambda: worst_batch(session, "spoilt", comparison)).diagnosis
    assert not diagnosis.culprits, list(sentences.lines(diagnosis))
    assert diagnosis.looked_at
