from __future__ import annotations

import json
import struct
from typing import TYPE_CHECKING

import numpy as np
import pytest
from onnx import helper

from hil.cli import main
from hil.cli.views.int8_shown import rank_layers
from hil.config.load import load
from hil.config.spec import CalibrationSpec
from hil.onnx_files.reference import cpu_session
from hil.quantize import quantize
from tests import recurrent
from tests.memory_data import MemoryData
from tests.models import convnet, images, write
from tests.plugins.project import Project, samples, save

if TYPE_CHECKING:
    from pathlib import Path

TOLERANCE = '\n[models.toy.tolerances.int8]\ntop1_drop = "5 %"\n'
CALIBRATION = '\n[models.toy.calibration]\ndata = "calibration.npz"\nmethod = "minmax"\n'


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with a small classifier that has INT8."""
    made = Project.make(tmp_path)
    made.edit('precisions = ["fp32"]', 'precisions = ["fp32", "int8"]')
    made.edit('duration = "0.5 s"', 'duration = "0.1 s"')  # no test here is about how long the speedup is measured
    made.edit('budget = "4 s"', 'budget = "0.4 s"')
    path = tmp_path / "hil.toml"
    path.write_text(path.read_text() + CALIBRATION + TOLERANCE)
    save(tmp_path / "calibration.npz", samples(128, seed=5))
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.chdir(tmp_path)
    return tmp_path


def cache(path: Path, **scales: float) -> Path:
    """Write a calibration cache in TensorRT's format."""
    lines = [f"{name}: {struct.pack('!f', scale).hex()}" for name, scale in scales.items()]
    path.write_text("\n".join(["TRT-8600-EntropyCalibration2", *lines]) + "\n")
    return path


def test_a_deployed_file_is_not_tuned(project: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """In a quantized file that the config names, no node can be kept in floating point: nothing is built."""
    path = project / "hil.toml"
    path.write_text(path.read_text().replace('path = "toy.onnx"', 'path = "toy.onnx"\ndeployed = {int8 = "toy.onnx"}'))
    assert main(["int8", "tune", "toy"]) == 4
    assert "has a quantized file as deployed" in " ".join(capsys.readouterr().err.split())


def test_an_audit_shows_each_check(project: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """The audit shows all INT8 checks as a table and as JSON, and with ``--sensitivity`` the ranking of layers."""
    code = main(["int8", "audit", "toy", "--sensitivity", "--json", "audit.json"])
    shown = capsys.readouterr().out
    assert code == 0, shown
    for name in ("calibration_set", "ranges", "repeatable", "disjoint", "speedup"):
        assert name in shown
    assert "share of noise" in shown
    audit = json.loads((project / "audit.json").read_text())
    assert {check["verdict"] for check in audit["checks"] if check["id"] == "int8.repeatable"} == {"passed"}
    assert audit["layers"]["layers"][0]["node"] == "scores"


def test_an_audit_of_a_bad_set_fails_with_the_next_step(project: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """The audit of a bad calibration set exits with 1 and states the cause and the next step."""
    bad = samples(128, seed=5)
    bad["x"] = (bad["x"] * 255).astype(np.float32)
    save(project / "calibration.npz", bad)
    assert main(["int8", "audit", "toy"]) == 1
    shown = " ".join(capsys.readouterr().out.split())
    assert "preprocessed differently" in shown
    assert "next: fix the calibration data first" in shown


def test_mistakes_are_one_message(project: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """An unknown model, a model without INT8 and invalid files give exit code 4 and no traceback."""
    text = (project / "hil.toml").read_text()
    (project / "broken.onnx").write_bytes(b"no model")
    (project / "float.onnx").write_bytes((project / "toy.onnx").read_bytes())
    (project / "short.cache").write_text("TRT-8600-EntropyCalibration2\nx: zz")
    (project / "other.json").write_text("{}")
    (project / "list.json").write_text('{"checks": [1]}')
    (project / "none.json").write_text('{"checks": []}')
    sound = str(cache(project / "sound.cache", x=0.1))
    for arguments, message in (
        (["audit", "toi"], "toi"),
        (["sensitivity", "toi"], "toi"),
        (["tune", "toi"], "toi"),
        (["diff", "nowhere", sound], "does not exist"),
        (["diff", "broken.onnx", sound], "cannot be read as an ONNX model"),
        (["diff", "float.onnx", sound], "has no Q/DQ nodes"),
        (["diff", "short.cache", sound], "is not a TensorRT calibration cache"),
        (["diff", "other.json", sound], "is not a report"),
        (["diff", "list.json", sound], "is not a report"),
        (["diff", "none.json", sound], "no ranges"),
        (["diff", sound, sound, "--above", "much"], "--above much"),
    ):
        assert main(["int8", *arguments]) == 4, arguments
        assert message in capsys.readouterr().err
    (project / "hil.toml").write_text(text.replace('["fp32", "int8"]', '["fp32"]'))
    assert main(["int8", "audit", "toy"]) == 4
    assert "does not have int8" in capsys.readouterr().err


def test_caches_are_compared_by_tensor(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """The difference lists changed ranges and tensors of one cache only; small changes are ignored."""
    old = cache(tmp_path / "old", a=0.1, b=0.2, c=0.3)
    assert main(["int8", "diff", str(old), str(old)]) == 0
    assert main(["int8", "diff", str(old), str(cache(tmp_path / "near", a=0.105, b=0.2, c=0.3))]) == 0
    capsys.readouterr()
    assert main(["int8", "diff", str(old), str(cache(tmp_path / "far", a=0.2, b=0.2, d=0.3))]) == 1
    shown = capsys.readouterr().out
    assert "a  +100.0%" in shown
    assert "1 only in the old: c" in shown
    assert "1 only in the new: d" in shown


def test_models_and_reports_are_compared_too(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Q/DQ models and reports can be compared; for a report with several models, one model must be named."""
    model = convnet(tmp_path / "m.onnx")
    table = CalibrationSpec(data="memory", method="minmax")
    models = [quantize(model, tmp_path, MemoryData(image=images(64) * size), table).path for size in (1, 2)]
    assert main(["int8", "diff", str(models[0]), str(models[0])]) == 0
    assert main(["int8", "diff", str(models[0]), str(models[1])]) == 1
    rows = [{"id": "int8.cache", "model": name, "details": {"scales": {"a": 0.1}}} for name in ("m", "n")]
    report = tmp_path / "report.json"
    report.write_text(json.dumps({"checks": rows}))
    same = str(cache(tmp_path / "cache", a=0.1))
    capsys.readouterr()
    assert main(["int8", "diff", str(report), same]) == 4
    assert "name one with --model" in capsys.readouterr().err
    assert main(["int8", "diff", str(report), same, "--model", "m"]) == 0


def test_layers_of_a_model_with_a_state_are_ranked_by_its_steps(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Layers of a model with a state are ranked on steps with the reference's states."""
    recurrent.write_cell(tmp_path / "m.onnx")
    for name, count in (("data", 6), ("calibration", 4)):
        np.savez(
            tmp_path / f"{name}.npz", allow_pickle=False, x=recurrent.inputs(count, 30), labels=np.zeros((count, 30))
        )
    table = '[models.m]\npath = "m.onnx"\ndata = "data.npz"\nprecisions = ["fp32", "int8"]\ntask = "regression"\n'
    table += '[models.m.inputs.h]\ncarry = "hn"\nbatch_axis = 1\n[models.m.calibration]\ndata = "calibration.npz"\n'
    (tmp_path / "hil.toml").write_text(table)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    layers = rank_layers(load(tmp_path / "hil.toml"), "m", "cpu", lambda _: None)["layers"]
    noise = {layer["node"]: layer["noise"] for layer in layers}
    assert noise["MatMul_1"] > 1e-7, "the layer that reads the state"


def write_uneven(path: Path) -> None:
    """Write a classifier whose layer ``uneven`` gives one channel a range 2,000 times that of the others."""
    random = np.random.default_rng(0)
    weights = {name: random.normal(0, 0.5, (6, 6)).astype(np.float32) for name in ("w0", "w1")}
    weights["w2"] = random.normal(0, 0.5, (6, 4)).astype(np.float32)
    weights["w1"][:, 0] *= 2000
    weights["w2"][0] /= 2000
    nodes = [
        helper.make_node("MatMul", ["x", "w0"], ["a"], name="even"),
        helper.make_node("MatMul", ["a", "w1"], ["b"], name="uneven"),
        helper.make_node("MatMul", ["b", "w2"], ["scores"], name="scores"),
    ]
    write(path, nodes, {"x": ["n", 6]}, {"scores": ["n", 4]}, weights)


def test_tuning_keeps_what_is_sensitive_and_writes_it(project: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A search without a result advises more ``--builds``; one with a result writes ``exclude_nodes`` to hil.toml."""
    write_uneven(project / "toy.onnx")
    data = samples(400, seed=6)
    scores = cpu_session(project / "toy.onnx", 1).run(None, {"x": data["x"]})[0]
    save(project / "validation.npz", {**data, "labels": scores.argmax(axis=1)})
    assert main(["int8", "tune", "toy", "--builds", "1"]) == 1
    assert "try more --builds" in " ".join(capsys.readouterr().out.split())
    assert main(["int8", "tune", "toy", "--json", "tuned.json", "--builds", "2"]) == 0, capsys.readouterr().out
    assert "wrote exclude_nodes" in capsys.readouterr().out
    document = json.loads((project / "tuned.json").read_text())
    full, best = document["trials"][0], document["best"]
    assert document["builds"] == len(document["trials"]) - 1 == 2
    assert (full["keep"], full["holds"], full["share"]) == ([], False, 1)
    assert set(full["missed"]) == {"parity.outputs", "parity.task", "int8.drop"}
    assert best["holds"]
    assert best["keep"] == ["scores", "uneven"]
    kept = load(project / "hil.toml").spec.models["toy"].calibration
    assert kept is not None
    assert list(kept.exclude_nodes) == best["keep"]
