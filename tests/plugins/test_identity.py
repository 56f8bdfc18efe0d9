"""A model is everything it consists of, through the real command line: what changed is another model, and named."""

from __future__ import annotations

from typing import Any

import pytest

from hil.errors import ExitCode
from tests.plugins.project import SUITES, Project

PARITY = (*SUITES, "-k", "parity and not property", "--target=cpu", "--hil-gate")
POLICY = ("""require = ["contract.*", "parity.*", "latency.p99", "memory.peak"]""", """require = ["parity.*"]""")
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
    """A project whose samples and scores are code, each with a module that it imports."""
    for name, text in FILES.items():
        (project.root / name).write_text(text)
    for number in range(10):
        folder = project.root / "images" / str(number % 2)
        folder.mkdir(parents=True, exist_ok=True)
        (folder / f"{number}.txt").write_text(" ".join(str(number + one) for one in range(6)))
    project.edit('data = "validation.npz"', 'data = "images"\npreprocess = "reading:read"')
    project.edit('task = "classification"', 'task = "scoring:score"')
    project.edit("[measure]", "[models.toy.tolerances.fp32]\nscore_drop = 0.1\n\n[measure]")
    project.edit(*POLICY)
    return project


def _ran(project: Project, keep: str) -> dict[str, Any]:
    """A run's report, kept in a folder ``keep`` too, to be compared."""
    report = project.run(*PARITY).report
    assert report is not None
    (project.root / "report").rename(project.root / keep)
    return report


def _model(report: dict[str, Any]) -> dict[str, Any]:
    found: dict[str, Any] = report["models"][0]
    return found


def _of_code(report: dict[str, Any]) -> dict[str, Any]:
    task = next(each for each in report["checks"] if each["id"] == "parity.task")
    return dict(report["methods"][task["measurement"]["method"]]["code"])


def test_a_changed_module_is_another_model(coded: Project) -> None:
    """What preprocessing imports makes other data, what a metric imports another method; the engine stays as it is.

    The ONNX file's digest is the same all along; a comparison names what changed.
    """
    first = _ran(coded, "first")
    (coded.root / "helping.py").write_text(FILES["helping.py"] + "# the same numbers\n")
    second = _ran(coded, "second")
    (coded.root / "scores_of.py").write_text(FILES["scores_of.py"] + "# the same numbers\n")
    third = _ran(coded, "third")
    assert [report["decision"] for report in (first, second, third)] == ["PASSED"] * 3
    assert len({_model(report)["digest"] for report in (first, second, third)}) == 1
    assert len({_model(report)["identity"] for report in (first, second, third)}) == 3
    assert _model(first)["data_digest"] != _model(second)["data_digest"] == _model(third)["data_digest"]
    assert _of_code(first) == _of_code(second) != _of_code(third)
    assert [report["engines"][0]["cached"] for report in (first, second, third)] == [False, True, True]
    assert {"role": "module", "name": "helping.py"}.items() <= _part(first, "helping.py").items()
    told = coded.hil("compare", "first", "second").out
    assert "module helping.py" in told, told
    assert "scores_of.py" not in told


def _part(report: dict[str, Any], name: str) -> dict[str, Any]:
    return next(part for part in _model(report)["parts"] if part["name"] == name)


def test_a_module_that_changes_during_the_run_ends_it(coded: Project) -> None:
    """A part that is not what it was when the run read it is the user's mistake: which file it is, and exit code 4."""
    (coded.root / "conftest.py").write_text(
        "import pathlib\n"
        "def pytest_runtest_teardown(item):\n"
        "    path = pathlib.Path('scores_of.py')\n"
        "    path.write_bytes(path.read_bytes())\n"
    )
    ran = coded.run(*PARITY, "-p", "conftest")
    assert ran.code == ExitCode.USER_ERROR, ran.out
    assert "scores_of.py was changed while the run read it" in ran.out


def test_a_module_that_is_no_python_is_named(coded: Project) -> None:
    """What a broken module imports nobody knows: one message with file and line, exit code 4."""
    (coded.root / "reading.py").write_text(FILES["reading.py"] + "    import broken\n")
    (coded.root / "broken.py").write_text("x = 1\ndef (")
    ran = coded.run(*PARITY)
    assert ran.code == ExitCode.USER_ERROR, ran.out
    assert "broken.py cannot be read as Python" in ran.out
    assert "line 2" in ran.out
