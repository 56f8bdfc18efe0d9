"""A model with external data, through the real command line: its weights belong to its identity."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
from onnxruntime.quantization import CalibrationDataReader, QuantFormat, QuantType, quantize_static

from hil.errors import ExitCode
from hil.files.digests import file_digest
from hil.onnx_files.external_data import external_files
from tests.models import externalize
from tests.plugins.project import SUITES, Project, samples, save

if TYPE_CHECKING:
    from pathlib import Path

PARITY = (*SUITES, "--target=cpu", "-k", "outputs")
FAILED, USER = int(ExitCode.FAILED), int(ExitCode.USER_ERROR)


class _Samples(CalibrationDataReader):  # type: ignore[misc]  # onnxruntime ships no types
    def __init__(self) -> None:
        self.rows = iter([{"x": samples()["x"]}])

    def get_next(self) -> dict[str, Any] | None:
        return next(self.rows, None)


def _quantized(model: Path, path: Path) -> None:
    """Write ``model`` in INT8, as another tool would, to ``path``.

    Weights have 7 bits: on processors without VNNI, products of 8 bits saturate.
    """
    kinds = {"activation_type": QuantType.QInt8, "weight_type": QuantType.QInt8}
    quantize_static(str(model), str(path), _Samples(), quant_format=QuantFormat.QDQ, reduce_range=True, **kinds)


def test_other_weights_beside_the_same_onnx_file(project: Project) -> None:
    """An engine of former weights fails, although caches and store still have the former outputs and engine."""
    model = project.root / "toy.onnx"
    _quantized(model, project.root / "toy-int8.onnx")
    data = externalize(model)
    project.edit('precisions = ["fp32"]', 'precisions = ["int8"]\ndeployed = "toy-int8.onnx"')
    project.require("parity.outputs")
    ran = project.run(*PARITY)
    assert (ran.code, ran.verdict("parity.outputs", "int8")) == (0, "passed"), ran.out
    before = model.read_bytes()
    data.write_bytes(np.random.default_rng(77).normal(size=data.stat().st_size // 4).astype(np.float32).tobytes())
    assert model.read_bytes() == before
    ran = project.run(*PARITY)
    assert (ran.code, ran.verdict("parity.outputs", "int8")) == (FAILED, "failed"), ran.out


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
