"""Accidents and mistakes that a reviewer tried: none ends in a passed run or a traceback."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import numpy as np
import onnx
import pytest

from hil.errors import ExitCode
from tests.plugins.project import SUITES, Project, RunResult

if TYPE_CHECKING:
    from pathlib import Path

FAILED, USER = int(ExitCode.FAILED), int(ExitCode.USER_ERROR)
PARITY = (*SUITES, "-k", "parity and not property", "--target=cpu")
OWN = ("test_own.py", "--target=cpu")


def _one_message(ran: RunResult, message: str, code: int) -> None:
    assert ran.code == code, ran.out
    assert message in ran.out, ran.out
    assert "Traceback" not in ran.out, ran.out
    assert "INTERNALERROR" not in ran.out, ran.out


def test_a_test_marked_hil_owes_a_verdict(project: Project) -> None:
    """A user's test that is marked with a stock check and judges nothing fails, even if the stock test judged it."""
    project.require("contract.signature")
    mark = "@pytest.mark.hil('contract.signature')"
    (project.root / "test_own.py").write_text(
        f"import pytest\n{mark}\ndef test_own_check(hil_check): pass\n{mark}\ndef test_own_plain(): pass\n"
    )
    ran = project.run(*SUITES, "test_own.py", "-k", "signature or own")
    assert ran.code == FAILED, ran.out
    assert "1 passed" in ran.out, ran.out
    for test in ("check[toy-fp32]", "plain"):
        assert f"test_own_{test} is marked hil and gave no result" in ran.out, ran.out


@pytest.mark.parametrize(
    ("mark", "near", "workers"),
    [
        ("hil('parity.output')", "'parity.outputs'", ()),
        ("hil", "there is", ()),
        ("hil_models('toi')", "'toy'", ("-n", "1")),
        ("hil_precisions('fp23')", "'fp32'", ()),
    ],
    ids=["check", "no check", "model, xdist", "precision"],
)
def test_a_misspelt_marker_does_not_drop_its_test(
    project: Project, mark: str, near: str, workers: tuple[str, ...]
) -> None:
    """A misspelt marker is a user error; it does not remove the test from the run."""
    text = f"import pytest\n@pytest.mark.{mark}\ndef test_own(hil_check, hil_engine): pass\n"
    (project.root / "test_own.py").write_text(text)
    ran = project.run(*OWN, *workers)
    _one_message(ran, "is unknown", USER)
    assert near in ran.out


@pytest.mark.parametrize("name", ["Grasp Error", "grasp", "grasp." + "e" * 300, "grasp.error\\n"])
def test_a_bad_id_of_a_users_check_is_one_message(project: Project, name: str) -> None:
    """An id that the report cannot hold is a user error, reported once in one line."""
    (project.root / "test_own.py").write_text(f"def test_own(hil_check): hil_check.at_most('{name}', 1.0, '2 mm')\n")
    ran = project.run(*OWN)
    _one_message(ran, "is not a valid check id", USER)
    assert "gave no result" not in ran.out.split(" hil ")[0], ran.out


def test_a_policy_that_requires_nothing_is_a_mistake(project: Project) -> None:
    """``require = []`` is a user error: any run would pass it."""
    project.require()
    _one_message(project.run(*PARITY), "gate.require names nothing", USER)


@pytest.mark.parametrize(("name", "test"), [("engines", "signature"), ("samples", "p99")])
def test_a_file_in_the_reports_way_is_one_message(project: Project, name: str, test: str) -> None:
    """If ``report/engines`` or ``report/samples`` is a file, one message states what to do."""
    (project.root / "report").mkdir()
    (project.root / "report" / name).write_text("in the way")
    _one_message(project.run(*SUITES, "-k", test, "--target=cpu"), f"{name} cannot be written", USER)


def test_a_damaged_series_of_an_earlier_run_is_measured_again(project: Project) -> None:
    """A truncated ``.npz`` in ``report/samples`` is replaced and fails nothing."""
    project.require("latency.p99")
    (project.root / "report" / "samples").mkdir(parents=True)
    path = project.root / "report" / "samples" / "toy-fp32-saturated.npz"
    np.savez(path, about=np.zeros(100))
    path.write_bytes(path.read_bytes()[:200])
    ran = project.run(*SUITES, "-k", "p99", "--target=cpu")
    assert ran.code == 0, ran.out
    assert ran.verdict("latency.p99") == "passed"


def test_a_listing_leaves_the_report_alone(project: Project) -> None:
    """``--fixtures`` runs nothing and writes no report."""
    ran = project.run(*PARITY, "--fixtures")
    assert ran.code == 0, ran.out
    assert ran.report is None


def test_a_batch_that_does_not_fit_is_reported_before_anything_runs(project: Project) -> None:
    """A batch size that differs from the model's fixed one is a user error before the first test."""
    project.edit('path = "toy.onnx"', 'path = "toy.onnx"\nbatch = 3')
    _fix_batch(project.root / "toy.onnx", 7)
    ran = project.run(*PARITY)
    _one_message(ran, "fixed at batch 7", USER)
    assert ran.report is None


def _fix_batch(path: Path, size: int) -> None:
    model = onnx.load(str(path))
    for value in (*model.graph.input, *model.graph.output):
        value.type.tensor_type.shape.dim[0].dim_value = size
    onnx.save(model, str(path))


def test_a_config_that_changes_before_the_workers_start_is_detected(project: Project) -> None:
    """If ``hil.toml`` changes while xdist starts its workers, the run is a user error, reported once."""
    project.add_own_check()
    (project.root / "conftest.py").write_text(
        "import pathlib\n"
        "def pytest_configure_node(node):\n"
        "    path = pathlib.Path('hil.toml')\n"
        "    path.write_text(path.read_text().replace('4 GiB', '5 GiB'))\n"
    )
    ran = project.run(*OWN, "-n", "1", "-p", "conftest")
    _one_message(ran, "was changed", USER)
    assert ran.report is not None
    assert json.dumps(ran.report["reasons"]).count("was changed") == 1


@pytest.mark.parametrize("name", ["toy.onnx", "validation.npz"])
def test_a_file_that_changes_during_the_run_is_detected(project: Project, name: str) -> None:
    """A model or data file that was written during the run is a user error: the report's digests would be wrong."""
    (project.root / "conftest.py").write_text(
        "import pathlib, pytest\n"
        "@pytest.hookimpl(tryfirst=True)\n"
        "def pytest_runtest_setup(item):\n"
        f"    path = pathlib.Path({name!r})\n"
        "    if 'repeatable' in item.name: path.write_bytes(path.read_bytes())\n"
    )
    ran = project.run(*SUITES, "-k", "test_outputs or repeatable", "--target=cpu", "-p", "conftest")
    _one_message(ran, f"{name} was changed while the run read it", USER)


def test_a_folder_in_the_way_of_junit_is_one_message(project: Project) -> None:
    """A folder at ``report/junit.xml`` is a user error before the run; pytest would end in a traceback after it."""
    (project.root / "report" / "junit.xml").mkdir(parents=True)
    _one_message(project.run(*PARITY), "junit.xml is a folder", USER)


def test_a_report_folder_with_an_impossible_name_is_one_message(project: Project) -> None:
    """A folder name that is longer than the file system allows is a user error."""
    _one_message(project.run(*PARITY, f"--hil-report={'x' * 300}"), "name another", USER)
