"""User errors through the real command line: one message, the right exit code, no incomplete files."""

from __future__ import annotations

import os
import subprocess
from typing import TYPE_CHECKING

import numpy as np
import pytest

from hil.errors import ExitCode
from tests.plugins.project import SUITES, Project, RunResult, samples, save, toy

if TYPE_CHECKING:
    from pathlib import Path

USER, FAILED, LAB = int(ExitCode.USER_ERROR), int(ExitCode.FAILED), int(ExitCode.LAB_ERROR)


def _one_message(ran: RunResult, message: str) -> None:
    assert "Traceback" not in ran.out, ran.out
    assert "INTERNALERROR" not in ran.out, ran.out
    assert ran.out.count(message) == 1, ran.out


def test_an_onnx_file_cut_in_half(project: Project) -> None:
    """A truncated ONNX file ends the run with one message that names it, and no report is written."""
    path = project.root / "toy.onnx"
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    ran = project.run(*SUITES, "--target=cpu")
    assert ran.code == USER, ran.out
    _one_message(ran, "toy.onnx")
    assert ran.report is None


def test_a_model_with_an_unsupported_operator(project: Project) -> None:
    """Each row that needs a model with an unsupported operator fails with a message that names the operator."""
    toy(project.root / "toy.onnx", op="FancyGemm")
    ran = project.run(*SUITES, "-k", "contract or outputs or test_data", "--tb=short", "-r", "")
    assert ran.code == FAILED, ran.out
    assert "Traceback" not in ran.out
    failures = ran.out.split("FAILURES")[1].split(" hil ")[0]
    assert failures.count("cannot") == 2, failures  # the engine cannot be built, nor the reference
    reasons = {check["reason"] for check in (ran.report or {})["checks"] if check["verdict"] == "failed"}
    assert len(reasons) == 2, reasons
    assert all("FancyGemm" in reason for reason in reasons)
    assert "passed" not in {check["verdict"] for check in (ran.report or {})["checks"] if check["id"] != "parity.data"}


def test_near_copies_of_one_sample_are_one_sample(project: Project) -> None:
    """Near copies of one sample count as one sample: the task is inconclusive, and the data row states why."""
    copies = {name: np.repeat(array[:1], 400, axis=0) for name, array in samples().items()}
    copies["x"] = (copies["x"] * (1 + 1e-6 * np.random.default_rng(0).normal(size=copies["x"].shape))).astype(
        np.float32
    )
    assert len(np.unique(copies["x"], axis=0)) > 300
    save(project.root / "validation.npz", copies)
    ran = project.run(*SUITES, "-k", "test_data or test_task")
    assert ran.code == FAILED, ran.out
    assert (ran.verdict("parity.data"), ran.verdict("parity.task")) == ("warned", "inconclusive")
    assert "only 1 of 400 validation samples differ" in ran.check("parity.data")["reason"]
    assert "1 distinct of 400 samples" in ran.check("parity.task")["reason"]


ENDLESS = """
import itertools
import numpy as np

def samples():
    weights = np.random.default_rng(7).normal(size=(6, 4)).astype(np.float32)
    for seed in itertools.count():
        x = np.random.default_rng(seed).normal(size=6).astype(np.float32)
        yield {"x": x, "labels": int((x @ weights).argmax())}
"""


def test_a_generator_without_end_is_read_to_the_samples_asked_for(project: Project) -> None:
    """An endless generator is read only up to the declared numbers of validation and calibration samples."""
    (project.root / "endless.py").write_text(ENDLESS)
    project.edit('data = "validation.npz"', 'data = "endless:samples"\nsamples = 320')
    project.edit('precisions = ["fp32"]', 'precisions = ["fp32", "int8"]')
    calibration = '[models.toy.calibration]\ndata = "endless:samples"\nsamples = 16\n'
    project.toml.write_text(f"{project.toml.read_text()}\n{calibration}")
    some = "test_data or ((test_outputs or test_task) and fp32) or (signature and int8)"
    ran = project.run(*SUITES, "-k", some, timeout=60)
    assert {ran.verdict("parity.data"), ran.verdict("parity.outputs"), ran.verdict("parity.task")} == {"passed"}, (
        ran.out
    )
    assert ran.verdict("contract.signature", "int8") == "passed", ran.out


def test_data_whose_names_do_not_match_the_inputs(project: Project) -> None:
    """Data whose names are not the model's inputs ends the run with a message that has both names."""
    save(project.root / "validation.npz", {"y": samples()["x"], "labels": samples()["labels"]})
    ran = project.run(*SUITES, "--target=cpu")
    assert ran.code == USER, ran.out
    _one_message(ran, "validation.npz")
    assert "'x'" in ran.out
    assert "'y'" in ran.out


def test_an_unknown_target(project: Project) -> None:
    """An unknown target ends the run with a message that suggests the most similar name."""
    ran = project.run(*SUITES, "--target=cpuu")
    assert ran.code == USER, ran.out
    _one_message(ran, "unknown target 'cpuu'")
    assert "did you mean 'cpu'?" in ran.out


def test_an_unknown_model_on_the_command_line(project: Project) -> None:
    """``--hil-model`` accepts only the names in ``hil.toml``."""
    ran = project.run(*SUITES, "--hil-model=tow")
    assert ran.code == USER, ran.out
    _one_message(ran, "unknown model 'tow'")


def test_a_mistake_is_reported_without_an_option_too(project: Project) -> None:
    """A mistake in ``hil.toml`` is reported once if only the tests, and no option, activate the plugin."""
    project.edit('memory = "4 GiB"', "fsp = 1")
    ran = project.run(*SUITES)
    assert ran.code == USER, ran.out
    _one_message(ran, "did you mean 'fps'?")


def test_a_preprocess_that_fails(project: Project) -> None:
    """An error of the user's callable is shown as its message, without a traceback."""
    (project.root / "mine.py").write_text("def load():\n    raise RuntimeError('no camera')\n    yield {}\n")
    project.edit('data = "validation.npz"', 'data = "mine:load"')
    ran = project.run(*SUITES, "--target=cpu")
    assert ran.code == USER, ran.out
    assert "no camera" in ran.out
    assert "Traceback" not in ran.out


@pytest.mark.skipif(os.geteuid() != 0, reason="needs root: mounts a small file system")
def test_a_full_disk_in_the_store(project: Project, tmp_path: Path) -> None:
    """A full store is a lab error that names the store; no partial file stays, and the report has the error."""
    store = tmp_path / "store"
    store.mkdir()
    mount = ["/bin/mount", "-t", "tmpfs", "-o", "size=256k", "hil-test", str(store)]
    if subprocess.run(mount, capture_output=True, check=False).returncode:
        pytest.skip("mount is not allowed here")
    try:
        rng = np.random.default_rng(0)
        (store / "filler").write_bytes(rng.bytes(250 * 1024))
        text = (project.root / "hil.toml").read_text()
        (project.root / "hil.toml").write_text(f'{text}\n[targets.cpu]\nstore = "{store}"\n')
        ran = project.run(*SUITES)
        assert ran.code == LAB, ran.out
        assert "Traceback" not in ran.out
        assert str(store) in ran.out
        assert ran.report is not None
        assert ran.report["decision"] == "FAILED"
        assert str(store) in (ran.report["run"]["lab_error"] or "")
        blobs = [path for path in store.rglob("*") if path.is_file() and "blobs" in path.parts]
        assert not blobs, blobs
    finally:
        subprocess.run(["/bin/umount", str(store)], check=True)


def test_a_report_folder_that_cannot_be_written(project: Project) -> None:
    """A file in place of the report folder is a user error."""
    (project.root / "occupied").write_text("")
    ran = project.run(*SUITES, "--hil-report=occupied")
    assert ran.code == USER, ran.out
    assert "occupied" in ran.out
    assert "Traceback" not in ran.out
