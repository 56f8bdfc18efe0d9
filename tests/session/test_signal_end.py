"""A task that loses its whole score names the node at which the signal ends, in reason and advice."""

from __future__ import annotations

from contextlib import closing

import numpy as np
import onnx
import pytest
from onnx import numpy_helper, parser

from hil.config.load import load
from hil.diagnose.running import on_host
from hil.results import CheckResult, Row
from hil.session import Request, Session

GRAPH = """<ir_version: 9, opset_import: ["": 17]>
    g (float[n, 3, 6, 6] image) => (float[n, 6, 36] y) {
        moved = Conv<kernel_shape = [1, 1]>(image, box_weights)
        boxes = Add(moved, grid)
        logits = Conv<kernel_shape = [1, 1]>(image, score_weights, score_bias)
        scores = Sigmoid(logits)
        joined = Concat<axis = 1>(boxes, scores)
        y = Reshape(joined, shape)
    }"""
ZEROED = GRAPH.replace(
    "joined = Concat<axis = 1>(boxes, scores)", "gone = Mul(scores, nothing)\njoined = Concat<axis = 1>(boxes, gone)"
)
SHIFTED = GRAPH.replace("boxes = Add(moved, grid)", "near = Add(moved, grid)\nboxes = Add(near, half)")
TABLE = """
[models.{name}]
path = "model.onnx"
deployed = "{name}.onnx"
data = "data.npz"
task = "detection"
batch = 16
precisions = ["fp32"]
detection = {{ layout = "channels-first", boxes = "centers" }}
"""


def detector(text: str) -> onnx.ModelProto:
    """Return a detector of two classes; ``text`` is its graph."""
    model = parser.parse_model(text)
    random = np.random.default_rng(0)
    grid = np.full((4, 6, 6), 12.0)
    grid[:2] = 20 + 40 * np.stack(np.meshgrid(np.arange(6), np.arange(6)))
    constants = {
        "box_weights": random.normal(size=(4, 3, 1, 1)),
        "grid": grid,
        "score_weights": 6 * random.normal(size=(2, 3, 1, 1)),
        "score_bias": np.full(2, -8.0),
        "nothing": np.zeros(()),
        "half": np.full((), 14.0),
    }
    for name, array in constants.items():
        if name in text:
            model.graph.initializer.append(numpy_helper.from_array(array.astype(np.float32), name))
    model.graph.initializer.append(numpy_helper.from_array(np.array([0, 6, 36], np.int64), "shape"))
    for node in model.graph.node:
        node.name = f"make_{node.output[0]}"
    return model


def labels(y: np.ndarray) -> np.ndarray:
    """Return the reference's own boxes with a score over 0.5 as ground truth."""
    found = np.full((len(y), 36, 5), -1.0, np.float32)
    for sample, each in enumerate(y):
        places = np.flatnonzero(each[4:].max(axis=0) > 0.5)
        x, z, w, h = each[:4, places]
        corners = (x - w / 2, z - h / 2, x + w / 2, z + h / 2, each[4:, places].argmax(axis=0))
        found[sample, : len(places)] = np.stack(corners, axis=1)
    return found


@pytest.fixture(scope="module")
def results(tmp_path_factory: pytest.TempPathFactory) -> dict[str, CheckResult]:
    """Return the task's results of a dead and of a damaged engine."""
    root = tmp_path_factory.mktemp("ends")
    graphs = {"model": GRAPH, "zeroed": ZEROED, "shifted": SHIFTED}
    for name, text in graphs.items():
        onnx.save(detector(text), root / f"{name}.onnx")
    image = np.random.default_rng(1).normal(size=(32, 3, 6, 6)).astype(np.float32)
    y = on_host(detector(GRAPH), {"image": image})["y"]
    np.savez(root / "data.npz", image=image, labels=labels(y))
    (root / "hil.toml").write_text("".join(TABLE.format(name=name) for name in ("zeroed", "shifted")))
    request = Request(load(root / "hil.toml"), "cpu", "fail", 0.0, "run", root / "report", progress=lambda _: None)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("XDG_CACHE_HOME", str(root / "cache"))
        with closing(Session.open(request)) as session:
            rows = [
                Row(id="parity.task", model=m, precision="fp32", required=True, test="t") for m in ("zeroed", "shifted")
            ]
            return {row.model: session.judge(row).result for row in rows}


def test_the_node_is_in_the_reason(results: dict[str, CheckResult]) -> None:
    """If the mAP falls to 0, the reason and the details name the node from which on the scores are constant."""
    result = results["zeroed"]
    assert result.verdict.value == "failed"
    assert result.details["candidate"] == 0
    assert "; the signal ends at node 'make_joined' (Concat, node 5 of 6)" in result.reason
    assert "make_gone" in result.reason
    assert result.details["signal_end"]["node"]["name"] == "make_joined"


def test_an_engine_that_varies_has_no_end(results: dict[str, CheckResult]) -> None:
    """If shifted boxes cost the whole mAP, no node is named, and the details state why."""
    result = results["shifted"]
    assert result.verdict.value == "failed"
    assert result.details["candidate"] == 0
    assert "signal" not in result.reason
    assert "every output of the engine varies" in result.details["signal_end"]["why_not"]
