"""A model with external data, through the real command line: its weights belong to its identity."""

from __future__ import annotations

from hil.errors import ExitCode
from hil.files.digests import file_digest
from hil.onnx_files.external_data import external_files
from tests.models import externalize
from tests.plugins.project import SUITES, Project, samples, save

PARITY = (*SUITES, "--target=cpu", "-k", "outputs")
USER = int(ExitCode.USER_ERROR)


def test_a_linked_model_of_a_subfolder(project: Project) -> None:
    """FP32 and INT8 run from links into another folder, as model hubs cache them; the report has weights and engine."""
    (project.root / "blobs").mkdir()
    (project.root / "weights").mkdir()
    data = externalize(project.root / "toy.onnx", "toy.onnx.data")
    for name, file in {"a1": project.root / "toy.onnx", "b2": data}.items():
        file.rename(project.root / "blobs" / name)
        (project.root / "weights" / file.name).symlink_to(f"../blobs/{name}")
    save(project.root / "calibration.npz", samples(64, seed=2))
    project.edit('path = "toy.onnx"', 'path = "weights/toy.onnx"')
    project.edit('precisions = ["fp32"]', 'precisions = ["fp32", "int8"]\ncalibration = { data = "calibration.npz" }')
    project.require("parity.outputs toy fp32", "contract.signature toy int8")
    ran = project.run(*SUITES, "--target=cpu", "-k", "(outputs and fp32) or (signature and int8)")
    assert ran.code == 0, ran.out
    assert ran.report is not None
    assert (ran.verdict("parity.outputs"), ran.verdict("contract.signature", "int8")) == ("passed", "passed")
    [engine] = [engine for engine in ran.report["engines"] if engine["precision"] == "fp32"]
    [weights] = engine["external"]
    copy = project.root / "report" / weights["file"]
    assert copy.read_bytes() == (project.root / "blobs/b2").read_bytes()
    assert weights["digest"] == copy.name == file_digest(copy)
    assert [file.path for file in external_files(project.root / "report" / engine["file"])] == [copy]


def test_a_missing_file_is_named_before_anything_runs(project: Project) -> None:
    """A missing data file gives exit code 4 and a message that names it."""
    externalize(project.root / "toy.onnx").unlink()
    ran = project.run(*PARITY)
    assert ran.code == USER
    assert "toy.onnx.data (No such file or directory)" in " ".join(ran.out.split())
