"""Models as people export them: the messages of a run or of a check before the run."""

from __future__ import annotations

import shutil
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np
import onnx
import onnxruntime
import pytest

from hil.agent.runtimes.onnxruntime import CUSTOM_ADVICE, open_session
from hil.config.load import load
from hil.errors import ExitCode, UserError
from hil.onnx_files.signature import read_signature
from hil.session.preflight import preflight
from tests.cases import folders
from tests.cases.folders import LENGTHS, Case
from tests.plugins.project import SUITES, Project

if TYPE_CHECKING:
    from pathlib import Path

REQUIRED = '"contract.signature", "contract.bad_input", "parity.outputs", "int8.c*", "int8.r*", "property.*"'
COMMON = """
[project]
history = "none"

[measure]
duration = "100 ms"
warmup = "20 ms"
budget = "300 ms"
soak = 100
examples = 3

[gate]
require = [REQUIRED]
evidence = "host"
"""
UNJUDGED = ("latency", "memory", "contract.shapes", "int8.drop", "parity.repeatable")
FILES = "test_contract or test_parity or test_int8 or test_property"
SAME_KIND = "test_shapes or test_drop or test_speedup or (test_parity and test_repeatable)"
JUDGED = (*SUITES, "--target=cpu", "-k", f"({FILES}) and not ({SAME_KIND})")
"""The rows that a kind of model could get wrong; other rows are left out, since each loads every engine again."""

LINES = {
    "vad_none": (folders.VAD, '[models.NAME.inputs.sr]\nbatch_axis = "none"'),
    "vad_value": (folders.VAD, "[models.NAME.inputs.sr]\nvalue = 16000"),
    "sizes": (folders.SIZES, '[models.NAME.inputs.orig_im_size]\nbatch_axis = "none"'),
    "gru": (folders.GRU_CASE, "[models.NAME.inputs.x]\nbatch_axis = 1\n[models.NAME.inputs.h0]\nbatch_axis = 1"),
    "layers": (folders.LAYERS, "[models.NAME.inputs.h0]\nbatch_axis = 1"),
}
"""Cases and the lines that they need. Without the lines, the message proposes them, except ``vad_value``'s."""

AS_IT_IS = {
    "dynamic_hw": folders.DYNAMIC_HW,
    "external": folders.EXTERNAL,
    "uint8": folders.UINT8,
    "nms": folders.NMS,
    "no_shape": folders.NO_SHAPE,
    "variable": folders.VARIABLE,
    "ir3": folders.IR3_CASE,
    "mask": folders.MASK,
    "half": folders.HALF,
    "function": folders.FUNCTION,
    "plugin": folders.PLUGIN,
}
PASSING = AS_IT_IS | {name: replace(case, lines=lines) for name, (case, lines) in LINES.items()}


def write(root: Path, cases: dict[str, Case]) -> Project:
    """Write a project with these cases as its models."""
    project = Project.make(root)
    tables = [case.write(root / f"model_{name}", name) for name, case in cases.items()]
    project.toml.write_text("\n".join([COMMON.replace("REQUIRED", REQUIRED), *tables]))
    (root / "lengths.py").write_text(LENGTHS)
    return project


def with_plugin(folder: Path) -> None:
    """Write the deployed file and the saved reference of ``PLUGIN``, whose operator computes ReLU."""
    model = onnx.load(folder / "model.onnx")
    model.graph.node[1].CopyFrom(onnx.helper.make_node("Relu", ["a"], ["y"]))
    onnx.save(model, folder / "deployed.onnx")
    session = open_session(str(folder / "deployed.onnx"), onnxruntime.SessionOptions())
    with np.load(folder / "val.npz") as data:
        np.savez(folder / "reference.npz", y=session.run(["y"], dict(data))[0])


@pytest.mark.long
def test_all_that_pass(tmp_path: Path) -> None:
    """A run of all passing cases exits with 0, and only ``UNJUDGED`` rows have another verdict than passed."""
    project = write(tmp_path, PASSING)
    with_plugin(tmp_path / "model_plugin")
    assert not read_signature(tmp_path / "model_no_shape/model.onnx").outputs[0].ranked
    ran = project.run(*JUDGED, timeout=300)
    assert ran.code == ExitCode.PASSED, ran.out
    assert ran.report is not None
    for name, case in PASSING.items():
        rows = [row for row in ran.report["checks"] if row["model"] == name]
        assert {row["precision"] for row in rows if row["verdict"] == "passed"} == set(case.precisions)
        assert {row["id"] for row in rows} >= {"contract.signature", "parity.outputs", "property.stable"}
        wrong = [(row["id"], row["precision"], row["reason"]) for row in rows if row["verdict"] != "passed"]
        assert wrong == [each for each in wrong if each[0].startswith(UNJUDGED)], name
        # Where the outputs are saved, there is no reference for inputs that are drawn.
        assert ("property.parity" in {row["id"] for row in rows}) is (name != "plugin")


@pytest.mark.parametrize("name", LINES)
def test_a_batch_that_is_unclear(tmp_path: Path, name: str) -> None:
    """A case without its lines raises ``UserError`` before the run, and the message proposes the lines to add."""
    case, lines = LINES[name]
    project = write(tmp_path, {"m": case})
    with pytest.raises(UserError) as raised:
        preflight(load(project.toml), "cpu")
    proposed = [line.partition("  #")[0] for line in str(raised.value).splitlines()[1:]]
    if name != "vad_value":
        assert proposed == lines.replace("NAME", "m").splitlines()
    assert str(raised.value).startswith("the inputs of model m have no common batch as their first axis")


def test_an_operator_that_is_lacking(tmp_path: Path) -> None:
    """A run whose runtime lacks an operator fails with one reason for all rows: operator, domain and advice."""
    done = write(tmp_path, {"m": folders.CUSTOM}).run(*JUDGED)
    assert done.code == ExitCode.FAILED, done.out
    assert done.report is not None
    reasons = {row["reason"] for row in done.report["checks"] if row["verdict"] == "failed"}
    assert len(reasons) == 1
    [reason] = reasons
    assert "operator EfficientNMS_TRT of node 'y' (opset 1 of domain trt)" in reason
    assert reason.endswith(CUSTOM_ADVICE)
    assert "export" not in done.out
    assert "next:" not in done.out


def test_other_weights_beside_the_same_file(tmp_path: Path) -> None:
    """If only the external weights changed, an INT8 file of the earlier weights fails, with and without caches."""
    case = replace(folders.EXTERNAL, precisions=("int8",), lines='deployed = "int8.onnx"')
    project = write(tmp_path, {"m": case})
    quantized(project, case)
    project.edit(REQUIRED, '"parity.outputs"')
    only = (*SUITES, "--target=cpu", "-k", "outputs")
    done = project.run(*only)
    assert (done.code, done.verdict("parity.outputs", "int8")) == (0, "passed"), done.out
    weights = project.root / "model_m/model.onnx.data"
    before = (project.root / "model_m/model.onnx").read_bytes()
    swapped = np.random.default_rng(77).normal(size=weights.stat().st_size // 4) / 8
    weights.write_bytes(swapped.astype(np.float32).tobytes())
    assert (project.root / "model_m/model.onnx").read_bytes() == before
    for cached in (True, False):
        if not cached:
            shutil.rmtree(project.root / ".hil")
        done = project.run(*only)
        assert (done.code, done.verdict("parity.outputs", "int8")) == (ExitCode.FAILED, "failed"), done.out


def quantized(project: Project, case: Case) -> None:
    """Write the case's model in INT8 to ``int8.onnx``, as another tool would."""
    from onnxruntime.quantization import CalibrationDataReader, QuantFormat, QuantType, quantize_static

    class Samples(CalibrationDataReader):  # type: ignore[misc]  # onnxruntime ships no types
        rows: Any = iter([case.samples(2)])

        def get_next(self) -> dict[str, Any] | None:
            return next(self.rows, None)

    model, kind = project.root / "model_m/model.onnx", QuantType.QInt8
    quantize_static(
        str(model),
        str(project.root / "int8.onnx"),
        Samples(),
        quant_format=QuantFormat.QDQ,
        activation_type=kind,
        weight_type=kind,
        reduce_range=True,  # of 7 bits: on processors without VNNI, products of 8 bits saturate
    )


def test_a_quantized_file_as_path(tmp_path: Path) -> None:
    """A quantized file as ``path`` is refused before any build, except with saved outputs as reference."""
    case = replace(folders.EXTERNAL, external=False, precisions=("fp32",))
    project = write(tmp_path, {"m": case})
    quantized(project, case)
    (project.root / "int8.onnx").replace(project.root / "model_m/model.onnx")
    with pytest.raises(UserError, match=r"is quantized already \(DequantizeLinear, Qu.*: model m: .* as deployed"):
        preflight(load(project.toml), "cpu")
    project.edit("[models.m]", '[models.m]\nreference = "model_m/val.npz"')
    preflight(load(project.toml), "cpu")


def test_an_image_of_another_mode(tmp_path: Path) -> None:
    """One RGBA file among RGB files is refused by its name and mode."""
    from PIL import Image

    case = replace(folders.EXTERNAL, text=PICTURES, weights={"w2": (3, 2)}, precisions=("fp32",), external=False)
    project = write(tmp_path, {"m": replace(case, draws={})})
    project.edit(REQUIRED, '"parity.outputs"')
    random = np.random.default_rng(1)
    for label in ("cats", "dogs"):
        (project.root / "img" / label).mkdir(parents=True)
        for number in range(2):
            pixels = random.integers(0, 256, (8, 8, 3)).astype(np.uint8)
            Image.fromarray(pixels).save(project.root / "img" / label / f"{number}.png")
    Image.fromarray(random.integers(0, 256, (8, 8, 4)).astype(np.uint8)).save(project.root / "img/cats/alpha.png")
    (project.root / "prep.py").write_text(PREPROCESS)
    project.edit('data = "model_m/val.npz"', 'data = "img"\npreprocess = "prep:prep"\ntask = "classification"')
    done = project.run(*SUITES, "--target=cpu", "-k", "outputs")
    assert done.code == ExitCode.USER_ERROR
    assert "file cats/alpha.png, an image of mode RGBA" in " ".join(done.out.split())


PICTURES = """g (float[batch, 3, 8, 8] x) => (float[batch, 2] y) {
    p = GlobalAveragePool(x)
    f = Flatten(p)
    y = Gemm(f, w2)
}"""
PREPROCESS = """
import numpy as np
from PIL import Image


def prep(path):
    return {"x": (np.asarray(Image.open(path)).transpose(2, 0, 1) / 255).astype(np.float32)}
"""
