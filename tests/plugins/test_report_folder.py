"""A second run never replaces the results of the run that holds the report's folder."""

from __future__ import annotations

import json
import subprocess
import time
from typing import TYPE_CHECKING

import pytest

from hil.errors import ExitCode
from tests.plugins.project import Project
from tests.report import sample

if TYPE_CHECKING:
    from pathlib import Path

LAB = int(ExitCode.LAB_ERROR)
WAITS = """
import pathlib, time
def test_own(hil_check):
    pathlib.Path("begun").touch()
    while not pathlib.Path("go").exists(): time.sleep(0.05)
    hil_check.at_most("grasp.error", 1.0, "2 mm")
"""


@pytest.mark.parametrize("workers", [(), ("-n", "1")], ids=["alone", "xdist"])
def test_a_second_run_is_refused_while_the_first_lives(project: Project, workers: tuple[str, ...]) -> None:
    """A run whose report folder another run holds ends with exit code 11; the report is that of the other run."""
    project.add_own_check()
    (project.root / "test_own.py").write_text(WAITS)
    command = project.command("test_own.py", "--target=cpu", *workers)
    with subprocess.Popen(command, cwd=project.root, env=project.env, stdout=subprocess.PIPE, text=True) as first:
        end = time.monotonic() + 60
        while not (project.root / "begun").exists() and time.monotonic() < end:
            time.sleep(0.05)
        second = Project(project.root, project.env).run("test_own.py", "--target=cpu", *workers)
        assert second.code == LAB, second.out
        assert (second.report or {})["status"] == "incomplete"
        assert f"another run is writing its report there (run {(second.report or {})['run']['id']}" in second.out
        assert "Traceback" not in second.out
        (project.root / "go").touch()
        out, _ = first.communicate(timeout=60)
    report = project.report() or {}
    assert (first.returncode, report["decision"]) == (0, "PASSED"), out
    assert report["run"]["id"] == (second.report or {})["run"]["id"]


def test_a_report_that_another_run_wrote_meanwhile_stays(project: Project) -> None:
    """A report that another run wrote despite the lock is not replaced: exit code 11."""
    project.add_own_check()
    other = json.dumps(sample.failed().model_dump(mode="json"))
    (project.root / "other.json").write_text(other)
    (project.root / "conftest.py").write_text(
        "import shutil\ndef pytest_runtest_teardown(): shutil.copy('other.json', 'report/report.json')\n"
    )
    ran = project.run("test_own.py", "--target=cpu")
    assert ran.code == LAB, ran.out
    assert "wrote its report there during this run" in ran.out
    assert ran.report == json.loads(other)


def test_a_folder_without_locks_is_a_note(project: Project, tmp_path: Path) -> None:
    """A folder that cannot be locked is not a user error: the run continues and reports it."""
    project.add_own_check()
    (tmp_path / "report").mkdir()
    (tmp_path / "report" / ".lock").symlink_to("elsewhere")  # not followed: it may lead out of the folder
    ran = project.run("test_own.py", "--target=cpu")
    assert ran.code == 0, ran.out
    assert "cannot be locked" in ran.out
    assert not (tmp_path / "report" / "elsewhere").exists()
