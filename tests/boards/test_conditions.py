"""A session's changes to a board over SSH are undone at its end, or reported if that fails."""

from __future__ import annotations

import signal
import subprocess
import sys
import threading
import time
from contextlib import closing
from typing import TYPE_CHECKING

import pytest

from hil.board import install
from hil.errors import LabError
from hil.results import Verdict
from hil.targets.target import open_target
from tests.board.inside import SYSTEMCTL
from tests.boards.faults import LAB, BoardProject
from tests.boards.test_setup import PASSWORD, clocks_become, locked
from tests.boards.test_state import Opens, local, messages, row_result, start, while_timing

if TYPE_CHECKING:
    from pathlib import Path

    from tests.boards.board import SimulatedBoard

__all__ = ["local", "messages", "start"]
FAKE = "/var/lib/fake"
UNIT = f"{FAKE}/units/robot.service"
SHOWN = "LoadState=loaded\nFragmentPath=/etc/robot.service\nDropInPaths=\nUser=\nEnvironmentFiles=\n"
SHOWN += "ExecStart={ path=/usr/bin/true ; argv[]=/usr/bin/true ; ignore_errors=no ; pid=0 }\n"


def add_service(board: SimulatedBoard) -> None:
    """Add a running service ``robot``, and the root helper with permission to stop it."""
    script = f"#!/bin/sh\nF={FAKE}\n{SYSTEMCTL}"
    place = f"mkdir -p {FAKE}/units {FAKE}/shown; rm -f /usr/bin/systemctl; cat > /usr/bin/systemctl"
    board.shell("sh", "-c", f"{place}; chmod 755 /usr/bin/systemctl; echo active > {UNIT}", stdin=script)
    board.shell("sh", "-c", f"cat > {FAKE}/shown/robot.service; echo [Service] > /etc/robot.service", stdin=SHOWN)
    board.allow_sudo(PASSWORD)
    with open_target("orin", board.spec()) as target:
        install.install(target, install.plan(target, ("robot",)), lambda _: PASSWORD)


def service_state(board: SimulatedBoard) -> str:
    """Return the state of the service."""
    return board.read(UNIT)


def reaches(board: SimulatedBoard, state: str) -> bool:
    """Wait up to 10 s for the service to reach ``state``; return whether it did."""
    limit = time.monotonic() + 10
    while service_state(board) != state and time.monotonic() < limit:
        time.sleep(0.05)
    return service_state(board) == state


def kill_helpers(board: SimulatedBoard) -> None:
    """Kill all helpers, as root or the kernel's OOM killer could."""
    for one in board.processes():
        if "pytest-hil-helper" in one.command and one.user == "root":
            board.shell("kill", "-9", str(one.pid), check=False)


def test_a_service_is_stopped_for_the_session(board: SimulatedBoard, start: Opens) -> None:
    """The service is verified to be stopped, recorded in the row's method, and restarted at the end of the session."""
    add_service(board)
    with closing(start(stop_services=["robot"])) as session:
        assert service_state(board) == "inactive"
        assert row_result(session).verdict is Verdict.PASSED
        assert session.state.opened is not None
        assert session.state.opened["services"] == {"robot": "inactive"}
    assert service_state(board) == "active"


def test_a_service_that_does_not_stop_ends_the_session(board: SimulatedBoard, start: Opens) -> None:
    """A service that still runs after ``systemctl stop`` succeeded ends the session."""
    add_service(board)
    board.shell("sh", "-c", f"echo active > {FAKE}/stays")
    with pytest.raises(LabError, match=r"robot\.service is active after it was stopped: on target 'orin'"):
        start(stop_services=["robot"])


def test_a_service_started_while_timing_is_inconclusive(
    board: SimulatedBoard, start: Opens, messages: list[str]
) -> None:
    """A service that starts while timing makes the row inconclusive, and still runs after the session."""
    add_service(board)
    with closing(start(stop_services=["robot"])) as session:
        result = while_timing(session, messages, lambda: board.shell("systemctl", "start", "robot.service"))
    assert result.verdict is Verdict.INCONCLUSIVE
    assert "service robot, which had to be stopped, was active" in result.reason
    assert service_state(board) == "active"


def test_a_killed_host_restarts_the_service(board: SimulatedBoard) -> None:
    """If the host's process is killed, the connection and the agent end, and the helper restarts the service."""
    add_service(board)
    keys = board.spec().model_dump(mode="json", exclude_unset=True)
    script = f"""
import time
from hil.config.spec import TargetSpec
from hil.targets.target import open_target
agent = open_target("orin", TargetSpec(**{keys!r})).start_agent()
agent.hold("token", "tests")
agent.call("prepare", {{"services": ["robot"], "lock": False}})
print("stopped", flush=True)
time.sleep(60)
"""
    with subprocess.Popen([sys.executable, "-c", script], stdout=subprocess.PIPE, text=True) as host:
        assert host.stdout is not None
        assert host.stdout.readline() == "stopped\n"
        assert service_state(board) == "inactive"
        host.send_signal(signal.SIGKILL)
    assert reaches(board, "active")


def test_changes_of_a_killed_helper_are_undone_at_the_end(board: SimulatedBoard, start: Opens) -> None:
    """At the end of the session, a new helper undoes the changes of a killed one."""
    add_service(board)
    with closing(start(stop_services=["robot"], clocks="locked")):
        kill_helpers(board)
        assert (service_state(board), locked(board)) == ("inactive", True)
    assert (service_state(board), locked(board)) == ("active", False)


def test_a_change_that_cannot_be_undone_is_a_lab_error(board: SimulatedBoard, start: Opens) -> None:
    """The error has the command that undoes the change, also if no helper can be started any more."""
    add_service(board)
    session = start(stop_services=["robot"])
    board.shell("sh", "-c", "printf '#!/bin/sh\\nexit 3\\n' > /usr/bin/systemctl")
    with pytest.raises(
        LabError, match=r"robot\.service was not restored .*: run `sudo systemctl start robot\.service`"
    ):
        session.close()
    add_service(board)
    session = start(stop_services=["robot"])
    board.shell("rm", "/etc/sudoers.d/pytest-hil", "/etc/sudoers.d/lab")
    kill_helpers(board)
    with pytest.raises(LabError, match=r"service stop robot was not restored .*: run `sudo .*pytest-hil-helper"):
        session.close()


def test_two_workers_of_a_session_share_the_lock(board: SimulatedBoard) -> None:
    """Two agents of a session share locked clocks, which stay locked until the second agent restores them."""
    add_service(board)
    with open_target("orin", board.spec()) as target, target.start_agent() as one, target.start_agent() as other:
        for agent in (one, other):
            agent.hold("token", "tests")
            assert agent.call("prepare", {"services": [], "lock": True})[0]["helper"] is True
        assert one.call("restore")[0] == {"left": []}
        one.close()
        assert locked(board)
        assert other.call("restore")[0] == {"left": []}
        assert clocks_become(board, are_locked=False)


def test_throttling_before_the_start_is_ignored(board: SimulatedBoard, start: Opens) -> None:
    """Throttling before the wait for cooling does not affect rows that are timed afterwards."""
    board.temperature(80)
    board.gpu_clock(306_000_000, 612_000_000, 306_000_000)

    def cool() -> None:
        board.gpu_clock(306_000_000, 918_000_000, 306_000_000)
        board.temperature(50)

    timer = threading.Timer(2.0, cool)
    timer.start()
    with closing(start(start_below="65 °C", cool_within="60 s")) as session:
        result = row_result(session)
    assert result.verdict is Verdict.PASSED, result.reason
    assert "state" not in result.details


@pytest.mark.parametrize("board", ["jp46", "jp62"], indirect=True)
def test_a_co_runner_with_any_letters(board: SimulatedBoard, start: Opens) -> None:
    """A co-runner's command is sent as UTF-8 and may have any letters, even with locale C and Python 3.6."""
    with closing(start(co_runner="sh -c 'echo ü > heard; sleep 7602' ü")) as session:
        result = row_result(session)
    assert result.verdict is Verdict.PASSED, result.reason
    assert board.file("/home/hil/heard").read_text(encoding="utf-8") == "ü\n"


def test_a_co_runner_that_cannot_be_ended_is_a_lab_error(board: SimulatedBoard, start: Opens) -> None:
    """If a process of root, started by the co-runner, ignores signals, the error has the command that ends it."""
    board.shell("sh", "-c", f"umask 337; echo '{board.user} ALL=(ALL) NOPASSWD: ALL' > /etc/sudoers.d/lab")
    with (
        closing(start(co_runner="sudo -n sh -c 'trap \"\" TERM; while :; do sleep 7603; done'")) as session,
        pytest.raises(LabError, match=r"cannot be ended from here: process \d+ \(.*sleep 7603.*sudo kill -9 \d+"),
    ):
        row_result(session)
    limit = time.monotonic() + 10  # sudo's own command line contains it too; sudo ends after its child's signal
    while (users := {one.user for one in board.processes() if "7603" in one.command}) != {"root"}:
        assert time.monotonic() < limit, users
        time.sleep(0.05)


def test_a_hanging_nvpmodel_does_not_time_out(board: SimulatedBoard, start: Opens) -> None:
    """An agent that waits for nvpmodel keeps its session alive."""
    board.shell("sh", "-c", "printf '#!/bin/sh\\nsleep 600\\n' > /usr/sbin/nvpmodel")
    with closing(start(silence="5 s")) as session:
        assert row_result(session).verdict is not Verdict.FAILED


def test_a_memory_reserve_that_is_not_locked_is_reported(start: Opens, messages: list[str]) -> None:
    """The session reports a memory reserve that is not locked; its facts state whether the reserve is locked."""
    with closing(start(reserve_memory="50 MiB")) as session, session.state.loaded():
        (load,) = session.state.facts()["loads"]
    assert sum("reserve_memory is not locked" in line for line in messages) == (0 if load["locked"] else 1)


@pytest.mark.parametrize("workers", [(), ("-n", "1")], ids=["alone", "xdist"])
def test_the_run_ends_with_a_lab_error(board: SimulatedBoard, tmp_path: Path, workers: tuple[str, ...]) -> None:
    """If a change cannot be undone, exit code 11 and the command that undoes it follow, although all rows passed."""
    add_service(board)
    project = BoardProject.make(tmp_path, board, stop_services=["robot"])
    board.shell("sed", "-i", "s/^start|restart)/start) exit 3 ;; restart)/", "/usr/bin/systemctl")
    ran = project.run("-k", "latency", *workers)
    assert ran.code == LAB, ran.out
    assert "Traceback" not in ran.out
    assert ran.report is not None
    assert "run `sudo systemctl start robot.service` there" in ran.report["run"]["lab_error"]
