"""A user's own check that is deselected, renamed, without a case or removed fails the run."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest

from hil.config import own_checks
from hil.config.load import load
from hil.errors import ExitCode, UserError
from hil.plan import expand
from hil.plugins.accounts import OwnTest
from hil.results import Row

if TYPE_CHECKING:
    from pathlib import Path

    from tests.plugins.project import Project, RunResult

FAILED, USER = int(ExitCode.FAILED), int(ExitCode.USER_ERROR)
OWN = """
import pytest

def test_grasp(hil_check):
    hil_check.at_most("grasp.error", 1.0, "2 mm")

def test_carry(hil_check):
    hil_check.at_most("carry.mass", 1.0, "2 kg")
"""
TOML = """
[models.toy]
path = "toy.onnx"
data = "validation.npz"
precisions = ["fp32"]
calibration = { data = "validation.npz" }
[models.toy.on.orin]
precisions = ["fp32", "int8"]
[targets.orin]
kind = "ssh"
host = "orin"
"""


@pytest.fixture
def own(project: Project) -> Project:
    """A project whose policy requires one of its two own checks, and no stock row."""
    project.require("grasp.error")
    (project.root / "test_own.py").write_text(OWN)
    return project


def ran(project: Project, *args: str) -> RunResult:
    """Run the project's own tests on its CPU."""
    return project.run("test_own.py", "--target=cpu", *args)


def rows(result: RunResult) -> dict[str, tuple[str, str | None]]:
    """Return verdict and cause of the report's own rows, by id."""
    assert result.report is not None, result.out
    own = [row for row in result.report["checks"] if own_checks.is_own(row["id"])]
    return {row["id"]: (row["verdict"], row["cause"]) for row in own}


def test_an_own_check_that_is_left_out_is_a_row(own: Project) -> None:
    """A deselected own check is a required row, a listed one keeps its id, and only a run of all tests gives a list."""
    left = ran(own, "-k", "grasp", "-n1")
    assert left.code == FAILED, left.out
    assert rows(left) == {"grasp.error": ("passed", None), "test.test_carry": ("not_run", "deselected")}
    assert "1 required but not run: test.test_carry" in left.out
    refused = own.hil("checks", "--write", "report")
    assert refused.code == USER
    assert "gave no result (deselected): run pytest without leaving out tests" in refused.out
    assert ran(own).code == 0
    written = own.hil("checks", "--write", "report")
    assert written.code == 0, written.out
    assert "+ carry.mass" in written.out
    listed = own.root / "hil.checks.json"
    assert json.loads(listed.read_text())["checks"] == [
        {"id": "carry.mass", "test": "test_own.py::test_carry"},
        {"id": "grasp.error", "test": "test_own.py::test_grasp"},
    ]
    (own.root / "test_two.py").write_text("def test_two(): pass")
    assert rows(own.run("test_two.py", "--target=cpu"))["carry.mass"] == ("not_run", "not_collected")
    partial = own.hil("checks", "--write", "report")
    assert partial.code == USER
    assert "gave no result (not_collected): run pytest without leaving out tests" in partial.out
    (own.root / "test_own.py").write_text(OWN.replace("carry.mass", "carry.load"))
    renamed = ran(own)
    assert renamed.code == FAILED
    assert rows(renamed)["carry.mass"] == ("not_run", "no_result")
    assert renamed.report is not None
    assert renamed.report["config"]["checks"] is not None
    (stale,) = (row for row in renamed.report["checks"] if row["id"] == "carry.mass")
    assert "if it was removed on purpose, run: hil checks --write REPORT" in stale["reason"]
    again = own.hil("checks", "--write", "report")
    assert "- carry.mass\n+ carry.load" in again.out
    listed.unlink()
    assert "no own checks are listed" in own.hil("checks").out
    listed.write_text("{")
    damaged = own.hil("checks")
    assert damaged.code == USER
    assert "is damaged" in damaged.out
    listed.unlink()
    listed.mkdir()
    unwritable = own.hil("checks", "--write", "report")
    assert unwritable.code == USER
    assert "(Is a directory): make it writable, or delete it" in unwritable.out


def test_a_check_without_a_case_is_a_row(own: Project) -> None:
    """A test limited to a precision that no model has, or removed by a conftest, fails the run."""
    marked = "@pytest.mark.hil_precisions('fp16')\ndef test_fast(hil_check, hil_engine):"
    (own.root / "test_own.py").write_text(OWN.replace("def test_carry(hil_check):", marked))
    (own.root / "conftest.py").write_text(
        "def pytest_collection_modifyitems(items): items[:] = [i for i in items if 'grasp' not in i.name]\n"
    )
    result = ran(own)
    assert result.code == FAILED, result.out
    assert rows(result) == {
        "test.test_fast": ("not_run", "not_collected"),
        "test.test_grasp": ("not_run", "not_collected"),
    }
    assert "it is limited to fp16" in json.dumps(result.report)


def config(root: Path, *checks: dict[str, Any], text: str | None = None) -> Any:
    """Return a config with a list of these own checks."""
    (root / "hil.toml").write_text(TOML)
    for name in ("toy.onnx", "validation.npz"):
        (root / name).touch()
    content = json.dumps({"schema": 1, "checks": list(checks)}) if text is None else text
    (root / "hil.checks.json").write_text(content)
    return load(root / "hil.toml")


GRASP = {"id": "grasp.error", "model": "toy", "precision": "int8", "scenario": "toy-int8", "test": "t.py::test"}


def test_a_target_has_the_rows_of_its_precisions(tmp_path: Path) -> None:
    """A target requires the own checks of its precisions, and those without a precision."""
    loaded = config(tmp_path, GRASP, {"id": "idle.memory"})
    assert [row.id for row in expand(loaded, "cpu").own] == ["idle.memory"]
    both = expand(loaded, "orin").own
    assert [row.id for row in both] == ["grasp.error", "idle.memory"]
    assert all(row.required for row in both)
    assert len(loaded.checks_digest) == 64


@pytest.mark.parametrize(
    ("entries", "why"),
    [
        ([{**GRASP, "model": "toys"}], "there is no model 'toys': did you mean 'toy'"),
        ([{**GRASP, "precision": "fp16"}], "has no precision 'fp16' on any target"),
        ([{**GRASP, "model": ""}], "has no precision 'int8'"),
        ([{**GRASP, "id": "latency.p99"}], "not valid for a check of your own"),
        ([{**GRASP, "id": "Grasp"}], "not valid for a check of your own"),
        ([GRASP, GRASP], "is listed twice"),
        ([{**GRASP, "limit": 1}], "is damaged"),
        ([{**GRASP, "test": "a\x1b[2J"}], "is damaged"),
        ([{"model": "toy"}], "is damaged"),
        ("{", "is damaged"),
        ("[]", "is damaged"),
        ('{"schema": 2, "checks": []}', "is damaged"),
        ('{"schema": 1, "schema": 1, "checks": []}', "is damaged (a key occurs twice"),
        ("\ufeff", "is damaged"),
    ],
)
def test_a_file_that_does_not_fit_is_the_users_mistake(tmp_path: Path, entries: Any, why: str) -> None:
    """A damaged list, or one that does not fit the config, is a user error with the command that rewrites it."""
    text = entries if isinstance(entries, str) else json.dumps({"schema": 1, "checks": entries})
    with pytest.raises(UserError) as caught:
        config(tmp_path, text=text)
    assert why in str(caught.value)
    assert own_checks.REWRITE in str(caught.value)


def test_the_same_checks_give_the_same_file(tmp_path: Path) -> None:
    """The written list of own checks is sorted, has one line for each check, and is read back unchanged."""
    first, second = own_checks.OwnCheck(**GRASP), own_checks.OwnCheck(id="a.b")
    text = own_checks.to_json([first, second])
    assert text == own_checks.to_json([second, first])
    assert text.count("\n    {") == 2
    assert config(tmp_path, text=text).own_checks == (second, first)


@pytest.mark.parametrize("nodeid", ["a/t.py::test_x[a::b-Ä]", "t.py::T::test_x", f"t.py::test_{'x' * 400}", "t.py::Ä"])
def test_every_test_has_a_row_that_a_report_takes(nodeid: str) -> None:
    """Each node id gives a valid row; tests of the same name in two files give two rows."""
    row = OwnTest(nodeid).row
    assert Row.model_validate(row.model_dump()) == row
    assert row.key != OwnTest("other/" + nodeid).row.key
