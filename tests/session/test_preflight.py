"""A mistake in the user's own code that scores outputs is found before anything is built."""

from __future__ import annotations

from contextlib import nullcontext
from typing import TYPE_CHECKING

import numpy as np
import pytest
from onnx import helper

from hil.config.load import load
from hil.errors import UserError
from hil.session.preflight import preflight
from tests import models
from tests.plugins.project import CLASSES, FEATURES

if TYPE_CHECKING:
    from tests.session.conftest import MakesRequests

SCORER = """
def good(outputs, labels):
    return outputs["scores"].argmax(axis=1) == labels[""]

def whole(outputs, labels):
    return outputs["scores"]

def raises(outputs, labels):
    return labels["scores"]
"""


def test_code_that_cannot_score_is_refused(make_request: MakesRequests) -> None:
    """Scoring code that raises, or returns another shape, for the reference's first outputs ends the run."""
    config = make_request().config
    (config.root / "scorer.py").write_text(SCORER)
    text = config.path.read_text()
    for name, message in (("good", ""), ("whole", "gave scores of shape"), ("raises", "raised KeyError")):
        config.path.write_text(text.replace('task = "classification"', f'task = "scorer:{name}"'))
        expected = pytest.raises(UserError, match=message) if message else nullcontext()
        with expected:
            preflight(load(config.path), "cpu")


KINDS = """
def few(outputs):
    return outputs["scores"][:0]
"""


@pytest.mark.parametrize(
    ("table", "message"),
    [
        ('[models.toy.outputs.score]\nkind = "classification"', "has no output 'score'"),
        ('[models.toy.outputs.scores]\nkind = "classification"\naxis = 3', "axis 3"),
        ('[models.toy.outputs.scores]\nkind = "segmentation"', "has 2 axes"),
        ('[models.toy.outputs.scores]\ndecode = "kinds:few"', r"^hil\.toml:\d+: model toy: .*returned 0 answers for"),
        ('[models.toy.outputs.scores]\nkind = "classification"', ""),
    ],
)
def test_a_kind_that_does_not_fit_is_refused(make_request: MakesRequests, table: str, message: str) -> None:
    """An unknown output, an impossible axis or kind, and a decoder with too few answers end the run."""
    config = make_request().config
    (config.root / "kinds.py").write_text(KINDS)
    config.path.write_text(f"{config.path.read_text()}\n{table}\n")
    with pytest.raises(UserError, match=message) if message else nullcontext():
        preflight(load(config.path), "cpu")


@pytest.mark.parametrize(("lines", "refused"), [("", True), ('[models.toy.on.board]\nprecisions = ["int8"]', False)])
def test_a_quantized_file_that_nothing_uses_is_refused(
    make_request: MakesRequests, lines: str, *, refused: bool
) -> None:
    """A quantized ``deployed`` without a quantized precision for any target would not be judged, so the run ends."""
    config = make_request().config
    nodes = [
        helper.make_node("QuantizeLinear", ["x", "scale", "zero"], ["q"]),
        helper.make_node("DequantizeLinear", ["q", "scale", "zero"], ["d"]),
        helper.make_node("MatMul", ["d", "w"], ["scores"]),
    ]
    weights: dict[str, np.ndarray] = {
        "w": np.ones((FEATURES, CLASSES), np.float32),
        "scale": np.array(0.1, np.float32),
        "zero": np.array(0, np.int8),
    }
    models.write(config.root / "q.onnx", nodes, {"x": ["n", FEATURES]}, {"scores": ["n", CLASSES]}, weights)
    text = config.path.read_text().replace("[models.toy]", '[models.toy]\ndeployed = "q.onnx"')
    config.path.write_text(f"{text}\n{lines}")
    expected = pytest.raises(UserError, match="so it would never be judged: model toy: add the precision")
    with expected if refused else nullcontext():
        preflight(load(config.path), "cpu")
