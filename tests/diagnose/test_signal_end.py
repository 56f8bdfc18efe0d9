"""In an engine with dead outputs, the node at which the signal ends is named, if correcting it helps."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import onnx
import pytest
from onnx import numpy_helper, parser

from hil.diagnose import sentences
from hil.diagnose.bisect import diagnose
from hil.diagnose.signal_end import constant_slices

if TYPE_CHECKING:
    from hil.diagnose.diagnosis import Diagnosis

GRAPH = """<ir_version: 9, opset_import: ["": 17]>
    g (float[n, 3, 8, 8] image) => (float[n, 7, 64] y) {
        features = Conv<kernel_shape = [1, 1]>(image, stem)
        active = Relu(features)
        boxes = Conv<kernel_shape = [1, 1]>(active, box_weights)
        logits = Conv<kernel_shape = [1, 1]>(active, score_weights, score_bias)
        scores = Sigmoid(logits)
        joined = Concat<axis = 1>(boxes, scores)
        y = Reshape(joined, shape)
    }"""


def detector(text: str = GRAPH, **changed: Any) -> onnx.ModelProto:
    """Return a detector of 4 box coordinates in pixels and 3 scores at 64 places, with some constants ``changed``."""
    model = parser.parse_model(text)
    random = np.random.default_rng(0)
    constants: dict[str, Any] = {
        "stem": random.normal(size=(6, 3, 1, 1)),
        "box_weights": 100 * random.normal(size=(4, 6, 1, 1)),
        "score_weights": random.normal(size=(3, 6, 1, 1)),
        "score_bias": np.full(3, -1.0),
    }
    for name, array in {**constants, **changed}.items():
        model.graph.initializer.append(numpy_helper.from_array(np.asarray(array, np.float32), name))
    model.graph.initializer.append(numpy_helper.from_array(np.array([0, 7, 64], np.int64), "shape"))
    for node in model.graph.node:
        node.name = f"make_{node.output[0]}"
    return model


def examined(suspect: onnx.ModelProto, reference: onnx.ModelProto | None = None, count: int = 4) -> Diagnosis:
    """Return the diagnosis of ``suspect`` on ``count`` images."""
    images = np.random.default_rng(1).normal(size=(count, 3, 8, 8)).astype(np.float32)
    return diagnose(reference or detector(), suspect, {"image": images}, "fp32")


ZEROED = GRAPH.replace(
    "joined = Concat<axis = 1>(boxes, scores)",
    """gone = Mul(scores, nothing)
        joined = Concat<axis = 1>(boxes, gone)""",
)
ROUNDED = GRAPH.replace("y = Reshape(joined, shape)", """q = QuantizeLinear(joined, step, zero)
        dq = DequantizeLinear(q, step, zero)
        y = Reshape(dq, shape)""")  # fmt: skip


def rounded() -> onnx.ModelProto:
    """Return the detector with one INT8 scale for boxes and scores."""
    model = detector(ROUNDED, step=np.float32(5))
    model.graph.initializer.append(numpy_helper.from_array(np.zeros((), np.int8), "zero"))
    return model


@pytest.mark.parametrize(
    ("suspect", "node", "text"),
    [
        pytest.param(
            detector(score_weights=np.zeros((3, 6, 1, 1))), "make_logits", "values are constant (-1)", id="weights"
        ),
        pytest.param(detector(score_bias=np.full(3, -200.0)), "make_scores", "values are constant (0)", id="saturated"),
        pytest.param(detector(ZEROED, nothing=0.0), "make_joined", "3 of its 7 slices are constant (0)", id="zeroed"),
        pytest.param(rounded(), "make_joined", "3 of its 7 slices are constant", id="one scale"),
    ],
)
@pytest.mark.parametrize("count", [1, 4])
def test_dead_scores_beside_boxes(suspect: onnx.ModelProto, node: str, text: str, count: int) -> None:
    """If scores are dead beside boxes, the node after which they are constant is named."""
    diagnosis = examined(suspect, count=count)
    assert diagnosis.signal_end is not None
    assert diagnosis.signal_end.node.name == node
    assert text in sentences.signal_end(diagnosis)
    assert sentences.signal_end(diagnosis) in list(sentences.lines(diagnosis))
    assert diagnosis.as_json()["signal_end"]["node"]["name"] == node


def test_the_engines_own_node_is_named_too() -> None:
    """A node that only the engine's graph has is named beside the model's node."""
    assert "in the engine's graph: make_gone, make_joined" in sentences.signal_end(
        examined(detector(ZEROED, nothing=0.0))
    )


def test_a_lost_weak_channel_is_not_where_the_signal_ends() -> None:
    """A constant channel that does not cause the dead outputs is not named."""
    random = np.random.default_rng(0)
    stem = random.normal(size=(6, 3, 1, 1))
    stem[0] *= 0.05
    dead = stem.copy()
    dead[0] = 0
    diagnosis = examined(detector(stem=dead, score_weights=np.zeros((3, 6, 1, 1))), detector(stem=stem))
    assert diagnosis.signal_end is not None
    assert diagnosis.signal_end.node.name == "make_logits"


def test_wrong_values_that_vary_have_no_end() -> None:
    """Outputs that vary, right or wrong, have no node at which the signal ends."""
    assert examined(detector(score_weights=np.ones((3, 6, 1, 1)))).signal_end is None
    assert examined(detector()).signal_end is None


def test_a_constant_tensor_in_both_is_not_dead() -> None:
    """Only a finite tensor that varies in the reference can be called constant in the engine."""
    flat, varied = np.full((4, 3, 8), 7, np.float32), np.random.default_rng(0).normal(size=(4, 3, 8))
    assert not constant_slices(flat, np.zeros_like(flat)).any()
    assert constant_slices(varied, flat).all()
    assert not constant_slices(varied, flat[:, :2]).any()
    assert not constant_slices(varied, np.full_like(varied, np.nan)).any()
    assert not constant_slices(np.zeros((4, 0)), np.zeros((4, 0))).any()
    assert constant_slices(np.arange(4.0), np.zeros(4)).all()
