"""Faults during a run: each ends in one message, the right exit code, a clean board, and no pass."""

from __future__ import annotations

import os
import random
import signal
import subprocess
import time
from typing import TYPE_CHECKING

import pytest

from tests.boards.faults import (
    FAILED,
    LAB,
    STORE,
    BoardProject,
    assert_clean,
    assert_ended_with,
    assert_not_passed,
    until,
    user_processes,
)
from tests.boards.test_faults_board import MIB, larger

if TYPE_CHECKING:
    from pathlib import Path

    from tests.boards.board import SimulatedBoard

TIMED = ("-k", "p99")
INTERRUPTED = 2


@pytest.fixture
def project(board: SimulatedBoard, tmp_path: Path) -> BoardProject:
    """A project that passes, with a timed window longer than the test."""
    made = BoardProject.make(tmp_path, board)
    made.window()
    return made


def agents(board: SimulatedBoard) -> list[int]:
    """Return the process ids of the supervisors on the board."""
    return [one.pid for one in user_processes(board) if "agent-" in one.command and "--worker" not in one.command]


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


def test_link_down_mid_upload(board: SimulatedBoard, tmp_path: Path) -> None:
    """An upload that lost its connection is resumed: the second run sends only the rest."""
    project = BoardProject.make(tmp_path, board)
    larger(project, 24 * MIB)
    relay = board.relay(delay=0.1)
    project.target(host=relay.host, port=relay.port)
    process = project.start("-k", "contract")
    until(lambda: relay.received() > 8 * MIB, 60, "an upload")
    relay.stall()
    assert_ended_with(project.end(process, 60), LAB)
    relay.cut()
    until(lambda: not user_processes(board), 30, "an end of the agent")
    before = relay.received()
    partial = sum(file.stat().st_size for file in board.file(f"{STORE}/partial").iterdir())
    assert partial > MIB
    ran = project.run("-k", "contract")  # without timing, which is slow with an engine of this size
    assert ran.report is not None, ran.out
    verdicts = {row["verdict"] for row in ran.report["checks"] if row["id"].startswith("contract.")}
    assert verdicts == {"passed"}, ran.out
    assert relay.received() - before < 24 * MIB - partial + 4 * MIB
    assert_clean(board)


def test_packet_loss(board: SimulatedBoard, tmp_path: Path) -> None:
    """A loss of 5 % of packets in each direction only costs time."""
    project = BoardProject.make(tmp_path, board)
    board.loss(0.05)
    ran = project.run(timeout=200)
    assert ran.code == 0, ran.out
    board.loss(0)
    assert_clean(board)


def test_reboot_mid_run(project: BoardProject) -> None:
    """The message says that the board rebooted."""
    process = project.start(*TIMED)
    project.worker()
    project.board.reboot()
    assert_ended_with(project.end(process, 40), LAB)
    assert_clean(project.board)


def test_agent_killed(project: BoardProject) -> None:
    """If the supervisor is killed, its workers and the run end."""
    process = project.start(*TIMED)
    project.worker()
    for pid in agents(project.board):
        project.board.shell("kill", "-KILL", str(pid))
    assert_ended_with(project.end(process, 40), LAB)
    assert_clean(project.board)


def test_worker_killed(project: BoardProject) -> None:
    """A killed worker makes its row ``not_run``, with the signal as reason; the next row gets a new worker."""
    project.local.edit('memory = "4 GiB"', 'fps = 1\nmemory = "4 GiB"')
    project.window(5)
    process = project.start("-k", "p99 or test_sustained")
    project.board.shell("kill", "-KILL", str(project.worker()))
    ran = project.end(process, 200)
    assert ran.code == FAILED, ran.out
    assert "Traceback" not in ran.out
    lost, next_one = sorted((ran.check("latency.p99"), ran.check("fps.sustained")), key=lambda row: row["verdict"])
    assert (lost["verdict"], lost["cause"], next_one["verdict"]) == ("not_run", "crashed", "passed"), ran.out
    assert "was killed by SIGKILL" in lost["reason"]
    assert_not_passed(ran)
    assert_clean(project.board)


def test_memory_exhausted(project: BoardProject) -> None:
    """Out of memory, the kernel kills the worker, but not sshd or the agent; the run reports it."""
    board = project.board
    process = project.start(*TIMED)
    worker = project.worker()
    used = sum(resident(one.outer) for one in board.processes())
    board.memory_limit(used + 48 * MIB)
    [outer] = [one.outer for one in board.processes() if one.pid == worker]
    script = "input()\na=[]\nimport time\nwhile 1: a.append(b'x'*(4<<20)); time.sleep(.01)"
    with subprocess.Popen(
        board.command_line("python3", "-c", script), stdin=subprocess.PIPE, stderr=subprocess.DEVNULL
    ) as eater:
        assert eater.stdin is not None
        eating: list[int] = []  # the child of nsenter, which needs its limit before it starts

        def started() -> bool:
            eating[:] = [one.outer for one in board.processes() if "a.append" in one.command]
            return bool(eating)

        until(started, 30, "a start of the process")
        for each in eating:
            board.join_limit(each)
        eater.stdin.write(b"\n")
        eater.stdin.flush()
        try:
            until(lambda: not os.path.exists(f"/proc/{outer}"), 30, "an end of the worker")  # noqa: PTH110 - as short
            assert board.ssh("true").returncode == 0
        finally:
            eater.kill()
    ran = project.end(process, 60)
    assert ran.code == FAILED, ran.out  # a lost agent would give another exit code
    assert "Traceback" not in ran.out
    assert "memory" in ran.out
    assert_not_passed(ran)
    assert_clean(board)


def resident(outer: int) -> int:
    """Return the resident memory of a process in bytes."""
    with open(f"/proc/{outer}/statm", encoding="utf-8") as file:  # noqa: PTH123 - one line
        return int(file.read().split()[1]) * os.sysconf("SC_PAGE_SIZE")


def test_two_sessions_at_once(project: BoardProject, tmp_path: Path) -> None:
    """The second session's error names the holder, its host and start time; the first is not disturbed."""
    first = project.start(*TIMED)
    project.worker()
    (tmp_path / "second").mkdir()
    second = BoardProject.make(tmp_path / "second", project.board)
    assert_ended_with(second.run("-k", "contract"), LAB, "held by", "since")
    assert first.poll() is None
    first.send_signal(signal.SIGINT)
    project.end(first)
    assert_clean(project.board)


@pytest.mark.parametrize("moment", range(10))
def test_ctrl_c(project: BoardProject, moment: int) -> None:
    """Ctrl-C ends the run at any time within seconds, like any pytest run, and leaves a clean board."""
    larger(project, 4 * MIB)  # otherwise a fast machine reaches the maximum number of samples before the last moment
    process = project.start(*TIMED)
    time.sleep(random.Random(moment).uniform(0.3, 9))  # noqa: S311 - moments, no secrets
    os.killpg(process.pid, signal.SIGINT)
    began = time.monotonic()
    ran = project.end(process, 30)
    assert time.monotonic() - began < 20
    assert ran.code in {INTERRUPTED, -signal.SIGINT}, ran.out
    assert "PASSED" not in ran.out
    if ran.report is not None:
        assert_not_passed(ran)
    assert_clean(project.board, within=20)


def test_throttled_from_outside(project: BoardProject) -> None:
    """A throttle alert without a rise in temperature makes the row inconclusive, so the run does not pass."""
    project.window(5)
    process = project.start(*TIMED)
    project.worker()
    project.board.throttle(on=True)
    ran = project.end(process, 90)
    assert ran.code == FAILED, ran.out
    assert "throttl" in ran.out
    assert ran.verdict("latency.p99") == "inconclusive", ran.out
    assert_not_passed(ran)
    assert_clean(project.board)


def test_power_mode_changed(project: BoardProject) -> None:
    """A power mode changed while timing makes the row inconclusive; both modes are named."""
    project.window(5)
    process = project.start(*TIMED)
    project.worker()
    project.board.power_mode("MAXN_SUPER")
    ran = project.end(process, 90)
    assert ran.code == FAILED, ran.out
    assert ran.verdict("latency.p99") == "inconclusive", ran.out
    assert "40W" in ran.out
    assert "MAXN_SUPER" in ran.out
    assert_not_passed(ran)
    assert_clean(project.board)


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
