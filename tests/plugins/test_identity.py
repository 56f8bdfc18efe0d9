"""A model's identity covers all its files, through the real command line: a changed part is another model."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest
from cryptography.hazmat.primitives import serialization

from hil.errors import ExitCode
from hil.files.digests import file_digest
from hil.onnx_files.identity import identity_of
from hil.report.canonical import report_digest
from hil.results import Part
from tests.attestation import case as cases
from tests.models import externalize
from tests.plugins.project import SUITES, Project

if TYPE_CHECKING:
    from pathlib import Path

TASK = (*SUITES, "-k", "test_task", "--target=cpu", "--hil-gate")
FILES = {
    "reading.py": """
import numpy as np
def read(path):
    from helping import scaled
    return {"x": scaled(np.array([float(word) for word in path.read_text().split()], np.float32))}
""",
    "helping.py": "def scaled(x):\n    return x * 2\n",
    "scoring.py": """
import numpy as np
import scores_of
def score(outputs, labels):
    return scores_of.each(outputs, labels)
""",
    "scores_of.py": """
def each(outputs, labels):
    return (outputs["scores"].argmax(axis=1) == labels[""]).astype(float)
""",
}


@pytest.fixture
def coded(project: Project) -> Project:
    """A project whose preprocessing and metric are code, each with a module that it imports."""
    for name, text in FILES.items():
        (project.root / name).write_text(text)
    for number in range(10):
        folder = project.root / "images" / str(number % 2)
        folder.mkdir(parents=True, exist_ok=True)
        (folder / f"{number}.txt").write_text(" ".join(str(number + column) for column in range(6)))
    project.edit('data = "validation.npz"', 'data = "images"\npreprocess = "reading:read"')
    project.edit('task = "classification"', 'task = "scoring:score"')
    project.edit("[measure]", "[models.toy.tolerances.fp32]\nscore_drop = 0.1\n\n[measure]")
    project.require("parity.task")
    return project


def _report(project: Project, folder: str) -> dict[str, Any]:
    """Run the project, move its report to ``folder`` and return it."""
    report = project.run(*TASK).report
    assert report is not None
    (project.root / "report").rename(project.root / folder)
    return report


def _model(report: dict[str, Any]) -> dict[str, Any]:
    model: dict[str, Any] = report["models"][0]
    return model


def _code(report: dict[str, Any]) -> dict[str, Any]:
    task = next(each for each in report["checks"] if each["id"] == "parity.task")
    return dict(report["methods"][task["measurement"]["method"]]["code"])


def test_a_changed_module_is_another_model(coded: Project) -> None:
    """A changed preprocessing module changes the data, a changed metric module the method; the engine is reused."""
    first = _report(coded, "first")
    for name in ("helping.py", "scores_of.py"):
        (coded.root / name).write_text(FILES[name] + "# the same numbers\n")
    second = _report(coded, "second")
    assert [report["decision"] for report in (first, second)] == ["PASSED"] * 2
    assert _model(first)["digest"] == _model(second)["digest"]
    assert _model(first)["identity"] != _model(second)["identity"]
    assert _model(first)["data_digest"] != _model(second)["data_digest"]
    assert _code(first) != _code(second)
    assert [report["engines"][0]["cached"] for report in (first, second)] == [False, True]
    assert {"role": "module", "name": "helping.py"}.items() <= _part(first, "helping.py").items()
    out = coded.hil("compare", "first", "second").out
    assert "module helping.py" in out, out
    assert "module scores_of.py" in out
    assert "module scoring.py" not in out


def _part(report: dict[str, Any], name: str) -> dict[str, Any]:
    return next(part for part in _model(report)["parts"] if part["name"] == name)


def test_a_module_that_changes_after_it_was_imported_ends_the_run(coded: Project) -> None:
    """A module that changes after it was imported is a user error that names it."""
    (coded.root / "conftest.py").write_text(
        "import pathlib\n"
        "def pytest_collection_finish(session):\n"
        "    path = pathlib.Path('helping.py')\n"
        "    path.write_bytes(path.read_bytes() + b'#')\n"
    )
    ran = coded.run(*TASK, "-p", "conftest")
    assert ran.code == ExitCode.USER_ERROR, ran.out
    assert "helping.py was changed while the run read it" in ran.out


def test_a_module_with_a_syntax_error_is_named(coded: Project) -> None:
    """A module that cannot be parsed is a user error with file and line: its imports are unknown."""
    (coded.root / "reading.py").write_text(FILES["reading.py"] + "    import broken\n")
    (coded.root / "broken.py").write_text("x = 1\ndef (")
    ran = coded.run(*TASK)
    assert ran.code == ExitCode.USER_ERROR, ran.out
    assert "broken.py cannot be read as Python" in ran.out
    assert "line 2" in ran.out


def test_a_signature_is_of_every_file_of_a_model(project: Project) -> None:
    """External data is a signed subject: other weights fail verification, also if the report was edited to match."""
    data = externalize(project.root / "toy.onnx")
    project.require("parity.task")
    pem = cases.pem()
    (project.root / "hil.pub").write_bytes(_public(pem))
    project.env["SIGNING"] = pem.decode()
    ran = project.run(*TASK, "--hil-sign-key=env:SIGNING")
    assert ran.code == 0, ran.out
    verify = ("verify", "report", "--key=hil.pub", f"--external-data={data.name}")
    signed = project.hil(*verify, "--json")
    assert signed.code == 0, signed.out
    subjects = {subject["role"]: subject for subject in json.loads(signed.out)["subjects"]}
    assert subjects["external-data"]["name"] == data.name
    assert subjects["onnx"]["identity"] == _model(signed.report or {})["identity"]
    data.write_bytes(bytes(data.stat().st_size))
    other = project.hil(*verify)
    assert other.code == ExitCode.FAILED
    assert "was not judged as external-data" in other.out
    _restate(project, data)
    edited = project.hil("verify", "report", "--key=hil.pub")
    assert edited.code == ExitCode.FAILED
    assert "is not the report that was signed" in edited.out


def _restate(project: Project, data: Path) -> None:
    """Edit the report so that it names these weights, without a contradiction in it."""
    document = project.report() or {}
    model = _model(document)
    next(part for part in model["parts"] if part["name"] == data.name)["digest"] = file_digest(data)
    model["identity"] = identity_of([Part(**part) for part in model["parts"]])
    document["digest"] = report_digest(document)
    (project.root / "report/report.json").write_text(json.dumps(document))


def _public(pem: bytes) -> bytes:
    key = serialization.load_pem_private_key(pem, None).public_key()
    return key.public_bytes(serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo)
