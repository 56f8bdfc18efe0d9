"""A selection that the user typed is judged alone, in its own folder, and no gate accepts its report."""

from __future__ import annotations

import json
import shutil
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import pytest
from _pytest.config import get_config

from hil.errors import ExitCode
from hil.plugins.command_line import COMMAND_LINE, parsed
from hil.plugins.interactive.selection import KEY, Selection, selection_of

if TYPE_CHECKING:
    from pathlib import Path

    from tests.plugins.project import Project, RunResult

FAILED = int(ExitCode.FAILED)
PARSER = get_config()._parser  # noqa: SLF001 - the options of pytest itself, whatever plugins this run has
TESTS = """
import pytest

def test_grasp(hil_check):
    hil_check.at_most("grasp.error", 1.0, "2 mm")

def test_carry(hil_check):
    hil_check.at_most("carry.mass", 3.0, "2 kg")

@pytest.mark.hil_precisions("int8")
def test_fast(hil_check, hil_engine):
    hil_check.at_most("fast.error", 1.0, "2 mm")

def test_plain(): pass
"""


def selected(folder: Path, typed: list[str], before: list[str] = []) -> Selection:  # noqa: B006 - read only
    """Return the selection of a command line in ``folder``; ``before`` are arguments from an ini file or variable."""
    given: Any = SimpleNamespace(
        invocation_params=SimpleNamespace(args=typed, dir=folder),
        rootpath=folder,
        stash={COMMAND_LINE: parsed([*before, *typed])},
        _parser=PARSER,
    )
    return selection_of(given)


@pytest.fixture
def shell(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Return a folder with tests, in a shell that is not of a CI system."""
    for name in ("CI", "BUILD_NUMBER"):
        monkeypatch.delenv(name, raising=False)
    (tmp_path / "tests").mkdir()
    (tmp_path / "tests" / "test_own.py").touch()
    return tmp_path


@pytest.mark.parametrize(
    ("typed", "text"),
    [
        (["-k", "grasp"], "-k grasp"),
        (["tests", "-k", "grasp or carry", "--target=cpu"], "tests -k 'grasp or carry'"),
        (["-kgrasp"], "-k grasp"),
        (["-m", "not slow"], "-m 'not slow'"),
        (["--lf"], "--lf"),
        (["--last-failed", "--target", "cpu"], "--lf"),
        (["tests/test_own.py::test_grasp[x y]"], "tests/test_own.py::test_grasp[x y]"),
        (["tests"], "tests"),
        (["tests/test_oen.py"], "tests/test_oen.py"),
        (["--deselect", "tests/test_own.py::test_carry"], "--deselect tests/test_own.py::test_carry"),
        (["--ignore=tests"], "--ignore tests"),
        (["--stepwise"], "--sw"),
        (["--pyargs", "hil.suites.test_latency"], "hil.suites.test_latency"),
        (["--pyargs", "hil.suites", "-k", "p99"], "-k p99"),
        (["--pyargs", "hil.suites"], ""),
        (["--pyargs", "hil.suites", "tests/test_own.py", "--target=cpu"], ""),
        (["--target=cpu", "-x", "--ff", "-n", "2", "-p", "no:benchmark", "--maxfail=1"], ""),
        (["--target", "cpu", "--tb", "short"], ""),
        (["-k", ""], ""),
        (["--help"], ""),
        (["--maxfail=x", "-k", "grasp"], ""),
        (["-k", "grasp", "--hil-gate"], ""),
        (["-k", "grasp", "--hil-sign-key=hil.key"], ""),
    ],
)
def test_what_was_typed_is_a_selection(shell: Path, typed: list[str], text: str) -> None:
    """Arguments that leave out tests make a selection, unless the run is a gate; naming the stock suites makes none."""
    assert selected(shell, typed).text == text
    assert bool(selected(shell, typed)) is bool(text)


@pytest.mark.parametrize(("name", "value"), [("CI", "true"), ("CI", "1"), ("BUILD_NUMBER", "7")])
def test_in_ci_nothing_is_a_trial(shell: Path, monkeypatch: pytest.MonkeyPatch, name: str, value: str) -> None:
    """With a CI system's variable, the run is judged as a whole; an empty variable counts as unset."""
    monkeypatch.setenv(name, value)
    assert not selected(shell, ["-k", "grasp"])
    monkeypatch.setenv(name, "")
    assert selected(shell, ["-k", "grasp"])


def test_an_ini_file_types_nothing(shell: Path) -> None:
    """``addopts`` and ``PYTEST_ADDOPTS`` make no selection, but ``--hil-gate`` in them makes the run a gate."""
    assert not selected(shell, ["--target=cpu"], ["-k", "grasp", "tests"])
    assert not selected(shell, ["-k", "grasp"], ["--hil-gate"])


def test_a_worker_gets_the_selection_of_its_controller() -> None:
    """An xdist worker uses the selection that its controller sent, or none."""
    sent: Any = SimpleNamespace(workerinput={KEY: ["-k grasp", ["/tests"], "/"]})
    assert selection_of(sent) == Selection("-k grasp", ("/tests",), "/")
    nothing: Any = SimpleNamespace(workerinput={})
    assert not selection_of(nothing)


def test_what_a_folder_must_contain(shell: Path) -> None:
    """``has`` is true for a test in a folder that the user selected without other restrictions, and else false."""
    whole = selected(shell, ["tests"])
    assert whole.has("tests/test_own.py::test_grasp[x]")
    assert whole.has("tests/below/test_lost.py::test_x")
    assert not whole.has("tests2/test_own.py::test_grasp")
    assert not whole.has("test_latency.py::test_p99[toy-fp32]")
    for typed in (["tests", "-k", "grasp"], ["tests", "--lf"], ["tests/test_own.py::test_x"], ["-k", "grasp"]):
        assert not selected(shell, typed).has("tests/test_own.py::test_grasp"), typed


def shown(project: Project, *args: str) -> tuple[RunResult, dict[str, Any]]:
    """Run pytest in a shell, and return the run and the report of the selection."""
    ran = project.run("--target=cpu", *args)
    path = project.root / "report" / "partial" / "report.json"
    return ran, json.loads(path.read_bytes()) if path.exists() else {}


def test_a_selection_is_judged_alone_and_no_command_takes_it(project: Project) -> None:
    """A passing selection exits with 0, a failing or empty one does not; report and history stay as they were."""
    del project.env["CI"]
    project.keep_history()
    (project.root / "tests").mkdir()
    (project.root / "tests" / "test_own.py").write_text(TESTS)
    project.write_passed_report()
    before = {path.name: path.read_bytes() for path in (project.root / "report").iterdir() if path.is_file()}
    ran, report = shown(project, "tests", "-k", "grasp or fast")
    assert ran.code == 0, ran.out
    assert (report["status"], report["decision"], report["exit_code"]) == ("partial", None, None)
    assert "no gate accepts: tests -k 'grasp or fast' left out" in ran.out
    assert "collected 4 items / 3 deselected / 1 selected" in ran.out
    assert "report: report/partial/report.html" in ran.out
    failing, report = shown(project, "tests/test_own.py", "-k", "carry")
    assert failing.code == FAILED, failing.out
    assert "carry.mass" in report["reasons"][1]
    assert shown(project, "tests", "-k", "nothing")[0].code != 0
    after = {path.name: path.read_bytes() for path in (project.root / "report").iterdir() if path.is_file()}
    assert after == before
    assert not (project.root / ".hil" / "history.db").exists()
    assert project.hil("history").out.count("digits") == 0
    shutil.copy(project.root / "report" / "partial" / "report.json", project.root / "report" / "report.json")
    for words in (
        ("gate", "report"),
        ("gate", "report/partial"),
        ("history", "import", "report"),
        ("checks", "--write", "report"),
        ("compare", "report/report.json", "report/partial/report.json"),
    ):
        refused = project.hil(*words)
        assert refused.code == FAILED, (words, refused.out)
        assert "no gate" in refused.out, (words, refused.out)
