"""Faults during a run: each ends in one message or in a row without a pass, and leaves a clean board."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import threading
import time
from contextlib import closing
from typing import TYPE_CHECKING

import pytest

from hil.errors import LabError
from hil.results import Cause, Verdict
from tests.boards.faults import (
    LAB,
    STORE,
    BoardProject,
    assert_clean,
    assert_ended_with,
    assert_not_passed,
    set_window,
    until,
    user_processes,
)
from tests.boards.test_faults_board import MIB, larger, open_and_provision, provision
from tests.boards.test_state import Opens, local, messages, row_result, start, while_timing

if TYPE_CHECKING:
    from pathlib import Path

    from tests.boards.board import SimulatedBoard
    from tests.plugins.project import Project

__all__ = ["local", "messages", "start"]
TIMED = ("-k", "p99")
INTERRUPTED = 2


@pytest.fixture
def project(board: SimulatedBoard, tmp_path: Path) -> BoardProject:
    """A project that passes, with a timed window longer than the test."""
    made = BoardProject.make(tmp_path, board)
    set_window(made.local)
    return made


def agents(board: SimulatedBoard) -> list[int]:
    """Return the process ids of the supervisors on the board."""
    return [one.pid for one in user_processes(board) if "agent-" in one.command and "--worker" not in one.command]


def workers(board: SimulatedBoard) -> list[int]:
    """Return the process ids of the workers on the board."""
    return [one.pid for one in user_processes(board) if "--worker" in one.command]


def kill(board: SimulatedBoard, pids: list[int]) -> None:
    """Kill processes of the board; fail if there are none."""
    assert pids
    board.shell("kill", "-KILL", *map(str, pids))


def test_link_down_mid_run(project: BoardProject) -> None:
    """A disconnected cable ends the run after the ``silence`` limit; the agent on the board exits by itself."""
    process = project.start(*TIMED)
    project.worker()
    project.board.link(up=False)
    began = time.monotonic()
    assert_ended_with(project.end(process, 40), LAB)
    assert time.monotonic() - began < 30
    until(lambda: not any("python" in one.command for one in user_processes(project.board)), 30, "an end of the agent")
    project.board.link(up=True)  # only then does sshd notice that the client is gone, and end its session
    assert_clean(project.board, within=30)


def test_link_down_mid_upload(board: SimulatedBoard, local: Project, start: Opens) -> None:
    """An upload that lost its connection is resumed: the second session sends only the rest."""
    larger(local.root / "toy.onnx", 24 * MIB)
    relay = board.relay(delay=0.1)

    def stall() -> None:
        until(lambda: relay.received() > 8 * MIB, 60, "an upload")
        relay.stall()

    stalling = threading.Thread(target=stall)
    with closing(start(host=relay.host, port=relay.port, silence="5 s")) as session:
        stalling.start()
        with pytest.raises(LabError, match="on target 'orin'"):
            provision(session)
        stalling.join()
    relay.cut()
    until(lambda: not user_processes(board), 30, "an end of the agent")
    before = relay.received()
    partial = sum(file.stat().st_size for file in board.file(f"{STORE}/partial").iterdir())
    assert partial > MIB
    open_and_provision(start, host=relay.host, port=relay.port)
    assert relay.received() - before < 24 * MIB - partial + 4 * MIB
    assert_clean(board)


def test_packet_loss(board: SimulatedBoard, start: Opens) -> None:
    """A loss of 5 % of packets in each direction does not affect a row."""
    board.loss(0.05)
    with closing(start()) as session:
        result = row_result(session)
    assert result.verdict is Verdict.PASSED, result.reason
    board.loss(0)
    assert_clean(board)


def test_reboot_mid_run(board: SimulatedBoard, local: Project, start: Opens, messages: list[str]) -> None:
    """A reboot while timing is a lab error, and the board is clean afterwards."""
    set_window(local)
    with closing(start()) as session, pytest.raises(LabError, match="on target 'orin'"):
        while_timing(session, messages, board.reboot, delay=0.2)
    assert_clean(board)


def test_agent_killed(board: SimulatedBoard, local: Project, start: Opens, messages: list[str]) -> None:
    """If the supervisor is killed, its workers and the session end."""
    set_window(local)
    with closing(start()) as session, pytest.raises(LabError, match="on target 'orin'"):
        while_timing(session, messages, lambda: kill(board, agents(board)), delay=0.2)
    assert_clean(board)


def test_worker_killed(board: SimulatedBoard, local: Project, start: Opens, messages: list[str]) -> None:
    """A killed worker makes its row ``not_run``, with the signal as reason; the next row gets a new worker."""
    set_window(local)
    with closing(start()) as session:
        lost = while_timing(session, messages, lambda: kill(board, workers(board)), delay=0.2)
        next_row = row_result(session, "contract.signature")
    assert (lost.verdict, lost.cause) == (Verdict.NOT_RUN, Cause.CRASHED), lost.reason
    assert "was killed by SIGKILL" in lost.reason
    assert next_row.verdict is Verdict.PASSED, next_row.reason
    assert_clean(board)


def test_memory_exhausted(board: SimulatedBoard, local: Project, start: Opens, messages: list[str]) -> None:
    """Out of memory, the kernel kills the worker, but not sshd or the agent; the row reports the signal."""
    set_window(local)
    with closing(start()) as session:
        lost = while_timing(session, messages, lambda: exhaust_memory(board), delay=0.2)
        assert session.agent.probe()["numpy"]
    assert (lost.verdict, lost.cause) == (Verdict.NOT_RUN, Cause.CRASHED), lost.reason
    assert "was killed by SIGKILL" in lost.reason
    assert_clean(board)


def exhaust_memory(board: SimulatedBoard) -> None:
    """Limit the board's memory, and run a process that allocates memory until the kernel has killed the worker."""
    used = sum(resident(one.outer) for one in board.processes())
    board.memory_limit(used + 48 * MIB)
    [worker] = [one.outer for one in user_processes(board) if "--worker" in one.command]
    script = "input()\na=[]\nimport time\nwhile 1: a.append(b'x'*(4<<20)); time.sleep(.01)"
    command = board.command_line("python3", "-c", script)
    with subprocess.Popen(command, stdin=subprocess.PIPE, stderr=subprocess.DEVNULL) as allocating:
        assert allocating.stdin is not None
        children: list[int] = []  # the child of nsenter, which needs its limit before it starts

        def started() -> bool:
            children[:] = [one.outer for one in board.processes() if "a.append" in one.command]
            return bool(children)

        until(started, 30, "a start of the process")
        for each in children:
            board.join_limit(each)
        allocating.stdin.write(b"\n")
        allocating.stdin.flush()
        try:
            until(lambda: not os.path.exists(f"/proc/{worker}"), 30, "an end of the worker")  # noqa: PTH110 - as short
            assert board.ssh("true").returncode == 0
        finally:
            allocating.kill()


def resident(outer: int) -> int:
    """Return the resident memory of a process in bytes."""
    with open(f"/proc/{outer}/statm", encoding="utf-8") as file:  # noqa: PTH123 - one line
        return int(file.read().split()[1]) * os.sysconf("SC_PAGE_SIZE")


STARTING = 0.5  # seconds after its start a run imports its modules


@pytest.mark.parametrize("moment", [STARTING, 2.0, None], ids=["starting", "connecting", "timing"])
def test_ctrl_c(project: BoardProject, moment: float | None) -> None:
    """Ctrl-C ends the run at any time within seconds, like any pytest run, and leaves a clean board."""
    process = project.start(*TIMED)
    if moment is None:
        project.worker()
    else:
        time.sleep(moment)
    os.killpg(process.pid, signal.SIGINT)
    began = time.monotonic()
    if moment == STARTING:
        # Of 40 interrupts during imports CPython ignored one: it arrived in a callback of importlib. Users press again.
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(8)
        if process.returncode is None:
            os.killpg(process.pid, signal.SIGINT)
    ran = project.end(process, 30)
    assert time.monotonic() - began < 20
    assert ran.code in {INTERRUPTED, -signal.SIGINT}, ran.out
    assert "PASSED" not in ran.out
    if ran.report is not None:
        assert_not_passed(ran)
    assert_clean(project.board, within=20)


def test_sigterm(project: BoardProject) -> None:
    """SIGTERM ends the run like Ctrl-C: it is reported, the report does not pass, and no agent is left."""
    process = project.start(*TIMED)
    project.worker()
    process.terminate()
    ran = project.end(process, 30)
    assert ran.code == INTERRUPTED, ran.out
    assert "ended by SIGTERM: on target 'board': run again" in ran.out
    assert "Traceback" not in ran.out
    assert ran.report is not None
    assert (ran.report["status"], ran.report["decision"]) == ("complete", "FAILED")
    assert_clean(project.board, within=30)
