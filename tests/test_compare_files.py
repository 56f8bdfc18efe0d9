"""Two files compared without a config: the same rules and defaults as everywhere else."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import onnx
import pytest
from onnx import parser

from hil.checks.comparison import Comparison
from hil.cli import main
from hil.compare_files import compare
from hil.config.spec import PRECISIONS, Precision
from hil.results import Verdict

if TYPE_CHECKING:
    from pathlib import Path


def scaled(path: Path, scale: list[float]) -> Path:
    """Write a model that multiplies each of the 7 channels of its input, a detector's output, by a factor."""
    text = f"""<ir_version: 9, opset_import: ["": 17]>
    g (float[n, 7, 50] x) => (float[n, 7, 50] y) <float[7, 1] factor = {{{", ".join(map(str, scale))}}}> {{
        y = Mul(x, factor)
    }}"""
    onnx.save(parser.parse_model(text), path)
    return path


@pytest.mark.parametrize("precision", PRECISIONS)
def test_dead_scores_beside_boxes_fail_as_in_a_run(
    tmp_path: Path, precision: Precision, capsys: pytest.CaptureFixture[str]
) -> None:
    """Scores that are dead beside boxes fail with the reason of ``parity.outputs``, without a config too."""
    random = np.random.default_rng(0)
    scores = np.where(random.random((16, 3, 50)) < 0.05, 0.9, 0.001)
    x = np.concatenate([random.uniform(0, 320, (16, 4, 50)), scores], axis=1).astype(np.float32)
    data = tmp_path / "data.npz"
    np.savez(data, x=x)
    model, engine = scaled(tmp_path / "m.onnx", [1] * 7), scaled(tmp_path / "e.onnx", [1, 1, 1, 1, 0, 0, 0])
    judgement = compare(model, engine, data, precision, 4).judge()
    dead = x * np.array([1, 1, 1, 1, 0, 0, 0], np.float32)[:, None]
    sides = [[[("y", array[start : start + 4])] for start in range(0, 16, 4)] for array in (x, dead)]
    run = Comparison(precision, samples=16).consume(*sides)
    assert judgement.verdict is run.judge().verdict is Verdict.FAILED
    assert judgement.reason == run.judge().reason
    assert main(["parity", str(model), str(engine), "--data", str(data), "--precision", precision, "--batch", "4"]) == 1
    assert judgement.reason in " ".join(capsys.readouterr().out.split())


DECLARED = """
[models.m]
path = "m.onnx"
data = "data.npz"
inputs = {{ rate = {rate} }}
"""


def with_rate(path: Path) -> Path:
    """Write a model with an input ``rate`` that the data may lack."""
    text = """<ir_version: 9, opset_import: ["": 17]>
    g (float[n, 3] x, float[1] rate) => (float[n, 3] y, float[1] next) { y = Mul(x, rate) next = Identity(rate) }"""
    onnx.save(parser.parse_model(text), path)
    return path


@pytest.mark.parametrize(
    ("rate", "code", "message"),
    [
        ('{ value = 2.0, batch_axis = "none" }', 0, "passed"),
        ('{ carry = "next", batch_axis = "none" }', 1, "whose checks sequence"),
    ],
)
def test_inputs_are_fed_as_declared(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], rate: str, code: int, message: str
) -> None:
    """With --model, a declared value is fed and a carried input is refused, as in a run."""
    np.savez(tmp_path / "data.npz", x=np.random.default_rng(0).normal(size=(64, 3)).astype(np.float32))
    (tmp_path / "hil.toml").write_text(DECLARED.format(rate=rate))
    model, data = str(with_rate(tmp_path / "m.onnx")), str(tmp_path / "data.npz")
    config = str(tmp_path / "hil.toml")
    assert main(["parity", model, model, "--data", data, "--config", config, "--model", "m"]) == code
    shown = capsys.readouterr()
    assert message in " ".join((shown.out + shown.err).split())
    assert "Traceback" not in shown.err
    assert main(["parity", model, model, "--data", data]) == 4
