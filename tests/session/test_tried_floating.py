"""Nodes are advised to stay in floating point only after a trial."""

from __future__ import annotations

from contextlib import closing
from typing import TYPE_CHECKING, Any

import numpy as np
import onnx
import pytest
from onnx import numpy_helper, parser

from hil.config.load import load
from hil.diagnose.running import on_host
from hil.plan import expand
from hil.session import Request, Session
from hil.session.tried_floating import helped

if TYPE_CHECKING:
    from pathlib import Path

PROJECT = """
[models.wide]
path = "wide.onnx"
data = "validation.npz"
precisions = ["fp32", "int8"]
task = "classification"

[models.wide.calibration]
data = "calibration.npz"
method = "minmax"
"""


def write(path: Path) -> None:
    """Write a model of two products. Of the values that the first reads, one is 10,000 times as large as the others."""
    model = parser.parse_model("""<ir_version: 9, opset_import: ["": 17]>
    g (float[batch, 16] x) => (float[batch, 8] y) {
        wide = MatMul(x, factors)
        shaped = Reshape(wide, as_is)
        hidden = MatMul(shaped, first)
        y = MatMul(hidden, second)
    }""")
    random = np.random.default_rng(0)
    first = random.normal(size=(16, 16))
    first[0] = 0
    factors = np.where(np.arange(16) == 0, 1e4, 1.0)
    weights = {"factors": np.diag(factors), "first": first, "second": random.normal(size=(16, 8))}
    for name, array in weights.items():
        model.graph.initializer.append(numpy_helper.from_array(array.astype(np.float32), name))
    model.graph.initializer.append(numpy_helper.from_array(np.array([0, 16]), "as_is"))
    for node in model.graph.node:
        node.name = f"make_{node.output[0]}"
    onnx.save(model, path)


@pytest.fixture(scope="module")
def diagnosis(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """Return the diagnosis of a failed parity check in int8."""
    root = tmp_path_factory.mktemp("tried")
    write(root / "wide.onnx")
    random = np.random.default_rng(1)
    for name in ("validation", "calibration"):
        x = random.normal(size=(200, 16)).astype(np.float32)
        y = on_host(onnx.load(root / "wide.onnx"), {"x": x})["y"]
        np.savez(root / f"{name}.npz", x=x, labels=y.argmax(axis=1))
    (root / "hil.toml").write_text(PROJECT)
    config = load(root / "hil.toml")
    request = Request(config, "cpu", "fail", 0.0, "run", root / "report", progress=lambda _: None)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("XDG_CACHE_HOME", str(root / "cache"))
        with closing(Session.open(request)) as session:
            rows = expand(config, "cpu").rows
            row = next(row for row in rows if row.id == "parity.outputs" and row.precision == "int8")
            details = session.judge(row).result.details
    return dict(details["diagnosis"])


def test_the_layer_that_reads_the_values_is_tried_too(diagnosis: dict[str, Any]) -> None:
    """A trial keeps in floating point the layers that read the culprit's result too, also behind a Reshape."""
    tried = diagnosis["kept_in_float"]
    assert tried["nodes"][:2] == ["make_wide", "make_hidden"]
    assert tried["before"] > 0.2
    assert tried["after"] < tried["before"] / 4
    assert tried["samples"] >= 4


def test_a_trial_is_judged_by_the_task_too(diagnosis: dict[str, Any]) -> None:
    """With labels, a trial's record has the loss of score of both engines over the same samples."""
    score = diagnosis["kept_in_float"]["score"]
    assert score["samples"] == 200
    assert score["before"] > 0.05
    assert score["after"] < score["before"] / 2
    assert helped(diagnosis["kept_in_float"])


def test_what_counts_as_help() -> None:
    """A trial counts as help if it halves the error, or halves a loss of score that exceeds its tolerance."""
    tried = {"before": 0.4, "after": 0.3}
    assert not helped(tried)
    assert helped({**tried, "after": 0.2})
    assert helped({**tried, "score": {"before": 0.4, "after": 0.1, "tolerance": 0.01}})
    assert not helped({**tried, "score": {"before": 0.4, "after": 0.3, "tolerance": 0.01}})
    assert not helped({**tried, "score": {"before": 0.005, "after": 0.0, "tolerance": 0.01}})
    assert not helped({**tried, "score": {"before": -0.1, "after": -0.2, "tolerance": -1.0}})
