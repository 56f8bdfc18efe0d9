"""Killed processes: no process keeps running and no passed report is left."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import time
from typing import TYPE_CHECKING

import psutil
import pytest

from hil.errors import ExitCode
from tests.plugins.project import SUITES, Project

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

pytestmark = pytest.mark.usefixtures("fresh_workers")  # workers are recognized by their command line
SLOW = ('duration = "2.2 s"', 'duration = "30 s"')


@pytest.fixture
def started(project: Project) -> Iterator[subprocess.Popen[bytes]]:
    """Start a run and return it during its timed window of half a minute."""
    project.rate()
    project.edit(*SLOW)
    project.edit('budget = "4 s"', 'budget = "30 s"')
    command = project.command(*SUITES, "-k", "p99 or sustained")
    with subprocess.Popen(command, cwd=project.root, env=project.env, stdout=subprocess.PIPE) as process:
        yield process
        process.kill()


def _until(found: Callable[[], bool], seconds: float, what: str) -> None:
    end = time.monotonic() + seconds
    while not found():
        assert time.monotonic() < end, f"{what} did not happen within {seconds} s"
        time.sleep(0.05)


def _workers(root: int) -> list[psutil.Process]:
    try:
        below = psutil.Process(root).children(recursive=True)
        return [process for process in below if "--worker" in process.cmdline()]
    except psutil.NoSuchProcess:
        return []


def _busy(root: int) -> bool:
    return any(process.cpu_times().user > 1.0 for process in _workers(root))


def test_a_killed_host_leaves_no_orphan_and_nothing_green(project: Project, started: subprocess.Popen[bytes]) -> None:
    """Two seconds after SIGKILL no agent runs, and the report of the run says incomplete."""
    yesterday = project.root / "report" / "report.json"
    _until(lambda: _busy(started.pid), 60, "a busy worker")
    below = psutil.Process(started.pid).children(recursive=True)
    assert below
    os.kill(started.pid, signal.SIGKILL)
    _, alive = psutil.wait_procs(below, timeout=2)
    assert not alive, [process.cmdline() for process in alive]
    report = json.loads(yesterday.read_text())
    assert report["status"] == "incomplete"
    assert report["decision"] is None
    assert not (project.root / "report" / "report.html").exists()
    assert project.hil("gate", "report/report.json").code == int(ExitCode.FAILED)


def test_a_killed_worker_is_told_and_the_run_goes_on(project: Project, started: subprocess.Popen[bytes]) -> None:
    """SIGKILL of a worker in its timed window: its row is not run, for a crash, and the next row gets a new worker."""
    _until(lambda: _busy(started.pid), 60, "a busy worker")
    workers = _workers(started.pid)
    project.edit('duration = "30 s"', 'duration = "2.2 s"')
    for worker in workers:
        worker.kill()
    _until(lambda: bool(set(_workers(started.pid)) - set(workers)) or started.poll() is not None, 30, "a new worker")
    os.kill(started.pid, signal.SIGINT)
    out, _ = started.communicate(timeout=60)
    report = json.loads((project.root / "report" / "report.json").read_text())
    crashed = [check for check in report["checks"] if check["cause"] == "crashed"]
    assert crashed, out.decode()
    assert "signal 9" in crashed[0]["reason"] or "SIGKILL" in crashed[0]["reason"], crashed[0]["reason"]
    assert report["decision"] == "FAILED"
    assert started.returncode == 2


def test_yesterdays_green_report_does_not_outlive_a_broken_config(project: Project) -> None:
    """A mistake in ``hil.toml`` stops the run; the green report of the run before is replaced."""
    project.green()
    project.edit('memory = "4 GiB"', 'fps = "quick"')
    ran = project.run(*SUITES)
    assert ran.code == int(ExitCode.USER_ERROR), ran.out
    assert "fps" in ran.out
    assert "Traceback" not in ran.out
    assert ran.report is None or ran.report["decision"] != "PASSED"


def test_two_sessions_on_one_target_never_run_at_once(project: Project, tmp_path: Path) -> None:
    """The second is told who holds the target, from where and since when; exit code 11."""
    project.rate()
    project.edit(*SLOW)
    command = project.command(*SUITES, "-k", "latency")
    with subprocess.Popen(command, cwd=project.root, env=project.env, stdout=subprocess.DEVNULL) as first:
        _until(lambda: bool(_workers(first.pid)), 60, "a worker")
        second = Project(project.root, project.env).run(*SUITES, f"--hil-report={tmp_path / 'second'}")
        first.kill()
    assert second.code == int(ExitCode.LAB_ERROR), second.out
    assert "held by" in second.out
    assert "since" in second.out
    assert "Traceback" not in second.out
