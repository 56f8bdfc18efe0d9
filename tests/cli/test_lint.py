"""``hil lint``: its answers, exit codes and messages; the findings themselves are tested in ``tests/lint``."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

from hil.cli import main
from hil.onnx_files import parser_trial
from tests.lint.made import MADE, Made, built, node, sized

if TYPE_CHECKING:
    from pathlib import Path

    import onnx

CONFIG = """
[models.net]
path = "net.onnx"
data = "synthetic"
precisions = ["fp32", "fp16"]

[models.net.shapes]
height = [8, 16, 32]
width = [8, 16, 32]

[targets.board]
kind = "ssh"
host = "board.example"
runtime = "tensorrt"
board = "agx-orin-64gb"
"""


@pytest.fixture(autouse=True)
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Return a folder with a config, which is the working directory."""
    (tmp_path / "hil.toml").write_text(CONFIG)
    write(tmp_path / "net.onnx", sized(["batch", 3, "height", "width"]))
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(parser_trial, "MODULES", ())  # tests/onnx_files/test_parser_trial.py asks the parser
    return tmp_path


def write(path: Path, model: onnx.ModelProto) -> Path:
    """Write the model."""
    path.write_bytes(model.SerializeToString())
    return path


def run_json(capsys: pytest.CaptureFixture[str], *arguments: str) -> tuple[int, Any]:
    """Return the exit code and the JSON document of ``hil lint``."""
    code = main(["lint", *arguments, "--json"])
    return code, json.loads(capsys.readouterr().out)["models"][0]


def made(project: Path, name: str) -> tuple[Made, str]:
    """Write the model with the fault ``name``, and return it with its path."""
    one = MADE[name]
    return one, str(write(project / "made.onnx", one.broken(project / "made.onnx")))


def test_what_stops_a_model_is_one_line_with_its_fix(project: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A finding that stops the model is reported in one line (where, what, fix), and the exit code is 1."""
    one, path = made(project, "a zero point that is not 0")
    assert main(["lint", path, "--module", one.module, "--jetpack", one.jetpack]) == 1
    lines = [line for line in capsys.readouterr().out.splitlines() if line.startswith("✗")]
    assert len(lines) == 1
    assert "n_xq" in lines[0]
    assert "ActivationSymmetric" in lines[0]


def test_a_warning_does_not_fail(project: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Findings that do not stop the model leave the exit code 0."""
    _, path = made(project, "weights without Q/DQ nodes")
    code, answer = run_json(capsys, path)
    assert (code, answer["stops"]) == (0, False)
    assert [one["level"] for one in answer["findings"]] == ["warn"]


def test_the_config_declares_sizes_and_machine(capsys: pytest.CaptureFixture[str]) -> None:
    """The sizes of ``hil.toml`` apply to a model named by name or by file, and the target's table gives the machine."""
    for model in ("net", "net.onnx"):
        code, answer = run_json(capsys, model, "--target", "board", "--jetpack", "6.2")
        assert (code, answer["findings"]) == (0, [])
        assert (answer["module"], answer["jetpack"], answer["tensorrt"]) == ("agx-orin-64gb", "6.2", "10.3.0")
        assert run_json(capsys, model)[1]["findings"] == []


def test_a_file_without_a_config_has_no_declared_sizes(project: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A file that no ``hil.toml`` lists has no declared sizes, whether there is a ``hil.toml`` or not."""
    write(project / "other.onnx", sized(["batch", 3, "height", "width"]))
    assert run_json(capsys, "other.onnx")[1]["findings"][0]["rule"] == "dynamic-axes"
    (project / "hil.toml").unlink()
    assert run_json(capsys, "net.onnx")[1]["findings"][0]["rule"] == "dynamic-axes"


def test_the_shape_of_an_input_is_declared_too(project: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """``inputs.NAME.shape`` declares sizes as ``shapes`` does, also for a file beside ``hil.toml``."""
    shape = 'inputs.x.shape = ["batch", 3, [8, 16, 32], 8]\n'
    sizes = CONFIG[CONFIG.index("[models.net.shapes]") : CONFIG.index("[targets")]
    (project / "hil.toml").write_text(
        CONFIG.replace(sizes, "").replace('data = "synthetic"\n', f'data = "synthetic"\n{shape}')
    )
    assert run_json(capsys, "net.onnx")[1]["findings"] == []


def test_missing_sizes_stop_a_model_of_the_config(project: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Missing sizes of a model in the config are a finding that stops it."""
    (project / "hil.toml").write_text(CONFIG.replace("width = [8, 16, 32]", ""))
    code, answer = run_json(capsys, "net", "--target", "board")
    assert code == 1
    assert "width = [1, 1, 1]" in answer["findings"][0]["fix"]


def test_precisions_of_the_config_are_compared_with_the_machine(
    project: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """A precision of the config that the target's TensorRT lacks is a finding, and the exit code is 1."""
    (project / "hil.toml").write_text(CONFIG.replace('"fp16"]', '"bf16"]'))
    code, answer = run_json(capsys, "net", "--target", "board", "--jetpack", "5.1.2")
    assert code == 1
    assert [one["what"] for one in answer["findings"]] == ["bf16 needs TensorRT 10.0 or newer; this is 8.5.2"]


def test_the_estimate_counts_weights_and_declared_sizes(capsys: pytest.CaptureFixture[str]) -> None:
    """The memory estimate is labelled as one, and has the activations at the largest declared sizes."""
    memory = run_json(capsys, "net", "--target", "board")[1]["memory"]
    assert memory["estimate"] is True
    assert memory["activations"] == 2 * 3 * 32 * 32 * 4
    assert memory["unsized"] == 0


def test_weights_are_estimated(project: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """The memory estimate counts each weight with the size of its type."""
    model = built(
        [node("MatMul", "x w", "y")], {"x": (1, [1, 64])}, {"y": (1, [1, 64])}, {"w": np.ones((64, 64), "f4")}
    )
    write(project / "w.onnx", model)
    assert run_json(capsys, "w.onnx")[1]["memory"]["weights"] == 64 * 64 * 4


WRONG = {
    "there is no such Jetson module: did you mean 'agx-orin-64gb'?": ["--module", "agx-orin-64g"],
    "this release is not in the table": ["--jetpack", "9.9"],
    "JetPack 7.0 does not support agx-orin-64gb": ["--module", "agx-orin-64gb", "--jetpack", "7.0"],
    "name two machines": ["--module", "agx-orin-64gb", "--target", "board"],
}


@pytest.mark.parametrize("message", WRONG)
def test_wrong_names_are_one_message(message: str, capsys: pytest.CaptureFixture[str]) -> None:
    """A name that is not in the tables, and a module that the release does not support, are the user's mistakes."""
    assert main(["lint", "net", *WRONG[message]]) == 4
    error = capsys.readouterr().err
    assert message in error
    assert error.count("\n") == 1


FILES = {
    "nothing": b"",
    "a text": b"this is not a model\n" * 100,
    "zeros": bytes(4096),
    "a graph without nodes": None,
    "a model that was cut short": None,
}


@pytest.mark.parametrize("kind", FILES)
def test_a_file_that_is_no_model_is_one_message(kind: str, project: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A file that is not a model gives one message and never exit code 0."""
    path, content = project / "odd.onnx", FILES[kind]
    if kind == "a graph without nodes":
        content = built([], {"x": (1, [1])}, {"x": (1, [1])}).SerializeToString()
    elif content is None:
        content = (project / "net.onnx").read_bytes()[:60]
    path.write_bytes(content)
    assert main(["lint", str(path)]) == 4
    taken = capsys.readouterr()
    assert "nothing found" not in taken.out
    assert taken.err.startswith("error: ")
    assert taken.err.count("\n") == 1


@pytest.mark.parametrize("name", ["missing.onnx", ".", "nobody"])
def test_what_is_no_file_is_one_message(name: str, capsys: pytest.CaptureFixture[str]) -> None:
    """A missing file, a folder and an unknown name are the user's mistakes."""
    assert main(["lint", name]) == 4
    assert capsys.readouterr().err.count("\n") == 1


def test_hostile_names_are_escaped(project: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A node's name cannot move the terminal's cursor or begin a command of a CI runner."""
    model = built([node("Magic", "x", "y", domain="acme")], {"x": (1, [1])}, {"y": (1, [1])})
    model.graph.node[0].name = "\x1b[2J\n::error::all is well"
    write(project / "hostile.onnx", model)
    assert main(["lint", "hostile.onnx"]) == 1
    out = capsys.readouterr().out
    assert "\x1b" not in out
    assert "\n::" not in out
    assert " ::error" not in out
