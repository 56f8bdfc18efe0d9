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
SLOW = ('duration = "2.2 s"', 'duration = "5 min"')  # longer than the tests wait, or the row is judged before the kill


@pytest.fixture
def started(project: Project) -> Iterator[subprocess.Popen[bytes]]:
    """Start a run and return it during its timed window of five minutes."""
    project.limit_frame_rate()
    project.edit(*SLOW)
    project.edit('budget = "4 s"', 'budget = "5 min"')
    project.require("contract.signature")
    command = project.command(*SUITES, "-k", "test_signature or p99 or sustained")
    with subprocess.Popen(command, cwd=project.root, env=project.env, stdout=subprocess.PIPE) as process:
        yield process
        process.kill()


def _until(happened: Callable[[], bool], seconds: float, what: str) -> None:
    end = time.monotonic() + seconds
    while not happened():
        assert time.monotonic() < end, f"{what} did not happen within {seconds} s"
        time.sleep(0.05)


def _workers(root: int) -> list[psutil.Process]:
    try:
        below = psutil.Process(root).children(recursive=True)
        return [process for process in below if "--worker" in process.cmdline()]
    except psutil.NoSuchProcess:
        return []


def _runs(process: psutil.Process) -> bool:
    """Return whether the process still runs. A zombie does not: it has ended, but nobody has waited for it."""
    try:
        return bool(process.status() != psutil.STATUS_ZOMBIE)
    except psutil.NoSuchProcess:
        return False


def _wait_for_the_timed_window(project: Project, root: int) -> None:
    """Wait until the engine is built and one worker has computed for another half second."""
    _until(lambda: any(project.root.glob("cache/**/engines/*.json")), 60, "a built engine")
    before: dict[int, float] = {}

    def busy() -> bool:
        used = {process.pid: _used(process) for process in _workers(root)}
        return any(seconds > before.setdefault(pid, seconds) + 0.5 for pid, seconds in used.items())

    _until(busy, 60, "a busy worker")  # of each alone: a sum shrinks when the worker that built the engine ends


def _computed(root: int) -> float:
    return sum(map(_used, _workers(root)))


def _used(process: psutil.Process) -> float:
    try:
        return float(process.cpu_times().user)
    except psutil.NoSuchProcess:
        return 0.0


def test_a_killed_host_leaves_no_orphan_and_nothing_green(project: Project, started: subprocess.Popen[bytes]) -> None:
    """Two seconds after SIGKILL of the run no agent runs, and its report has what was judged and passes no gate."""
    _wait_for_the_timed_window(project, started.pid)
    below = psutil.Process(started.pid).children(recursive=True)
    assert below
    os.kill(started.pid, signal.SIGKILL)
    _, alive = psutil.wait_procs(below, timeout=2)
    assert not [process for process in alive if _runs(process)]
    report = json.loads((project.root / "report" / "report.json").read_text())
    assert report["status"] == "incomplete"
    assert report["decision"] is None
    verdicts = {check["id"]: (check["verdict"], check["cause"]) for check in report["checks"]}
    assert verdicts.pop("contract.signature") == ("passed", None)
    assert {verdict for verdict, _ in verdicts.values()} == {"not_run"}
    assert verdicts["latency.p99"] == ("not_run", "stopped")
    assert not (project.root / "report" / "report.html").exists()
    assert project.hil("gate", "report/report.json").code == int(ExitCode.FAILED)


def test_the_run_continues_after_a_killed_worker(project: Project, started: subprocess.Popen[bytes]) -> None:
    """After a killed worker, its row is not run (crashed), and the next row gets a new worker."""
    _wait_for_the_timed_window(project, started.pid)
    workers = _workers(started.pid)
    for worker in workers:
        worker.kill()
    psutil.wait_procs(workers, timeout=10)
    _until(lambda: _computed(started.pid) > 0.5 or started.poll() is not None, 30, "a new worker that computes")
    os.kill(started.pid, signal.SIGINT)
    out, _ = started.communicate(timeout=60)
    report = json.loads((project.root / "report" / "report.json").read_text())
    crashed = [check for check in report["checks"] if check["cause"] == "crashed"]
    assert crashed, out.decode()
    assert "signal 9" in crashed[0]["reason"] or "SIGKILL" in crashed[0]["reason"], crashed[0]["reason"]
    assert report["decision"] == "FAILED"
    assert started.returncode == 2, out.decode()


def test_yesterdays_green_report_does_not_outlive_a_broken_config(project: Project) -> None:
    """A mistake in ``hil.toml`` ends the run with exit code 4, and no passed report of an earlier run remains."""
    project.write_passed_report()
    project.edit('memory = "4 GiB"', 'fps = "quick"')
    ran = project.run(*SUITES)
    assert ran.code == int(ExitCode.USER_ERROR), ran.out
    assert "fps" in ran.out
    assert "Traceback" not in ran.out
    assert ran.report is not None
    assert (ran.report["decision"], ran.report["exit_code"]) == ("FAILED", int(ExitCode.USER_ERROR))


def test_two_sessions_on_one_target_never_run_at_once(project: Project, tmp_path: Path) -> None:
    """A run on a target that another run holds ends with exit code 11, and the message names holder and time."""
    project.limit_frame_rate()
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
