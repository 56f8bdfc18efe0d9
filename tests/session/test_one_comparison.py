"""Runs, ``hil parity``, ``hil diagnose`` and golden samples agree on the same two files."""

from __future__ import annotations

import json
from contextlib import closing
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
import onnx
import pytest
from onnx import numpy_helper, parser

from hil.cli import main
from hil.config.load import load
from hil.deploy import golden
from hil.diagnose.running import on_host
from hil.errors import DeployRefused
from hil.report.schema import EngineUsed, ModelUsed
from hil.results import Row
from hil.session import Request, Session
from hil.session.diagnosing import standing

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from hil.session.outcome import Outcome

SAMPLES = 128
CLASSES = 4
"""The last class has a logit around -10 and is never the answer."""

LOUD, SWAPPED = "loud", "swapped"
"""Engines: one that is wrong only in the class that is never the answer, and one that gives other answers."""

KIND = '[models.{name}.outputs.y]\nkind = "classification"\n'
DEPLOYED = '[models.{name}]\npath = "model.onnx"\ndeployed = "{engine}.onnx"\ndata = "data.npz"\nbatch = 32\n'
QUANTIZED = '[models.{name}]\npath = "model.onnx"\ndata = "data.npz"\nprecisions = ["fp32", "int8"]\nbatch = 32\n'
CALIBRATION = '[models.{name}.calibration]\ndata = "calibration.npz"\nmethod = "minmax"\n'
EXACT = "[models.{name}.tolerances.int8]\nmax_abs = 0.0\n"
MODELS = {
    "bare": DEPLOYED.replace("{engine}", LOUD),
    "kind": DEPLOYED.replace("{engine}", LOUD) + KIND,
    "other": DEPLOYED.replace("{engine}", SWAPPED) + KIND,
    "int8": QUANTIZED + CALIBRATION,
    "int8kind": QUANTIZED + CALIBRATION + KIND,
    "int8exact": QUANTIZED + CALIBRATION + KIND + EXACT,
}
VERDICTS = {"bare": "failed", "kind": "passed", "other": "failed"}


def write(path: Path, change: str = "") -> None:
    """Write a classifier of 8 numbers, with the ``change`` of an engine."""
    model = parser.parse_model(f"""<ir_version: 9, opset_import: ["": 17]>
    g (float[n, 8] x) => (float[n, {CLASSES}] y) {{
        hidden = MatMul(x, weights)
        y = Add(hidden, bias)
    }}""")
    weights = np.random.default_rng(3).normal(size=(8, CLASSES)).astype(np.float32)
    bias = np.array([0, 0, 0, -30], np.float32)
    if change == LOUD:
        weights[:, 3] *= 1.8
    if change == SWAPPED:
        weights = weights[:, [1, 0, 2, 3]]
    for name, array in (("weights", weights), ("bias", bias)):
        model.graph.initializer.append(numpy_helper.from_array(array, name))
    for node in model.graph.node:
        node.name = f"make_{node.output[0]}"
    onnx.save(model, path)


class Opened(NamedTuple):
    """A session with all models, and its project's folder."""

    session: Session
    root: Path

    def judged(self, model: str, check: str = "parity.outputs", precision: str = "fp32") -> Outcome:
        """Return the outcome of one row of a run."""
        return self.session.judge(Row(id=check, model=model, precision=precision, required=True, test="test"))


@pytest.fixture(scope="module")
def opened(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Opened]:
    """Return a session on this machine."""
    root = tmp_path_factory.mktemp("one")
    for change in ("model", LOUD, SWAPPED):
        write(root / f"{change}.onnx", change)
    random = np.random.default_rng(1)
    for name in ("data", "calibration"):
        np.savez(root / f"{name}.npz", x=random.normal(size=(SAMPLES, 8)).astype(np.float32))
    (root / "hil.toml").write_text("".join(text.format(name=name) for name, text in MODELS.items()))
    request = Request(load(root / "hil.toml"), "cpu", "fail", 0.0, "run", root / "report", progress=lambda _: None)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("XDG_CACHE_HOME", str(root / "cache"))
        patch.chdir(root)
        with closing(Session.open(request)) as session:
            yield Opened(session, root)


def parity(capsys: pytest.CaptureFixture[str], *arguments: str) -> str:
    """Return the last line that ``hil parity`` writes."""
    capsys.readouterr()
    code = main(["parity", *arguments, "--data", "data.npz"])
    line = capsys.readouterr().out.splitlines()[-1]
    assert (code == 0) == line.startswith("passed"), line
    return line


@pytest.mark.parametrize("model", list(VERDICTS))
def test_run_and_parity_and_golden_samples_agree(
    opened: Opened, model: str, capsys: pytest.CaptureFixture[str]
) -> None:
    """A run, ``hil parity`` and golden samples give the same reason, whether or not the output has a kind."""
    outcome = opened.judged(model)
    result = outcome.result
    assert result.verdict.value == VERDICTS[model], result.reason
    engine = EngineUsed.model_validate_json(json.dumps(outcome.engines[0]))
    file = f"{SWAPPED if model == 'other' else LOUD}.onnx"
    line = parity(capsys, "model.onnx", file, "--model", model)
    reason = result.reason.partition("; the error starts")[0]
    assert line == f"{result.verdict.value}: {reason}"
    config = opened.session.config
    samples = golden.golden(config, "cpu", ModelUsed.model_validate_json(json.dumps(outcome.models[0])), SAMPLES)
    assert opened.session.agent is not None
    try:
        shown = golden.check(opened.session.agent, config, "cpu", engine, samples, None)
    except DeployRefused as error:
        shown = str(error)
        assert result.verdict.value == "failed", shown
    assert reason in shown


@pytest.mark.parametrize("model", ["bare", "kind"])
def test_diagnose_agrees(opened: Opened, model: str, capsys: pytest.CaptureFixture[str]) -> None:
    """``hil diagnose`` gives the reason that a run has, with and without a kind."""
    result = opened.judged(model).result
    capsys.readouterr()
    code = main(["diagnose", model, "--precision", "fp32"])
    shown = " ".join(capsys.readouterr().out.split())
    assert f"{result.verdict.value} parity: {result.reason.partition('; the error starts')[0]}" in shown
    # A node at fault is an error too where the answers hold.
    assert code == 1


@pytest.mark.parametrize("model", list(VERDICTS))
def test_a_diagnosis_judges_outputs_by_what_is_declared(opened: Opened, model: str) -> None:
    """A diagnosis accepts changed outputs if and only if a run accepts them, with and without a kind."""
    with np.load(opened.root / "data.npz") as file:
        feeds = dict(file)
    engine = SWAPPED if model == "other" else LOUD
    expected, obtained = (on_host(onnx.load(opened.root / f"{name}.onnx"), feeds) for name in ("model", engine))
    assert standing(opened.session, model, "fp32", feeds)(expected, obtained) == (VERDICTS[model] != "failed")


@pytest.mark.parametrize("model", ["int8", "int8kind", "int8exact"])
def test_int8_drop_agrees(opened: Opened, model: str, capsys: pytest.CaptureFixture[str]) -> None:
    """Without a task, ``int8.drop`` gives what ``hil parity`` gives for the files of both engines."""
    result = opened.judged(model, "int8.drop", "int8").result
    files = [str(opened.session.engines.provisioned(model, precision).source) for precision in ("fp32", "int8")]
    line = parity(capsys, *files, "--precision", "int8", "--model", model)
    assert line == f"{result.verdict.value}: {result.reason}"
    assert ("(classification)" in result.reason) == (model == "int8kind")
    assert ("max_abs" in result.reason) == (model == "int8exact")


def test_parity_without_the_declarations_states_that(opened: Opened, capsys: pytest.CaptureFixture[str]) -> None:
    """Without --model, the defaults apply, and one line names the option."""
    assert opened.root.is_dir()
    arguments = ["parity", "model.onnx", f"{LOUD}.onnx", "--data", "data.npz"]
    assert main(arguments) == 1
    note = capsys.readouterr().err
    assert "declares outputs, inputs or tolerances of model.onnx, not used here: add --model kind" in note
    assert main([*arguments, "--model", "kind"]) == 0
    assert not capsys.readouterr().err


def test_mistakes_in_naming_a_declaration(opened: Opened, capsys: pytest.CaptureFixture[str]) -> None:
    """``--config`` without ``--model``, and an unknown model, end with exit code 4 and a message."""
    assert opened.root.is_dir()
    arguments = ["parity", "model.onnx", f"{LOUD}.onnx", "--data", "data.npz"]
    for more, message in (
        (("--config", "hil.toml"), "without --model: name the model whose declarations apply (bare, kind"),
        (("--model", "kint"), "unknown model 'kint'"),
    ):
        assert main([*arguments, *more]) == 4
        assert message in " ".join(capsys.readouterr().err.split())
