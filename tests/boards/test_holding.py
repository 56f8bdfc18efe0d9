"""One session per board: a second one waits up to its limit, and a killed holder blocks no one."""

from __future__ import annotations

import os
import signal
import time
from typing import TYPE_CHECKING

import pytest

from hil.targets.target import open_target
from tests.boards.faults import LAB, Judged, clean, ended_with, until, users

if TYPE_CHECKING:
    from pathlib import Path

    from tests.boards.board import SimulatedBoard

WAIT = "--hil-wait=60"


@pytest.fixture
def judged(board: SimulatedBoard, tmp_path: Path) -> Judged:
    """A project that passes."""
    return Judged.make(tmp_path, board)


def test_waiting_ends_with_its_time(judged: Judged) -> None:
    """After the limit, the error names the holder, its host and start time; nothing was started on the board."""
    with open_target("board", judged.board.spec()).start_agent() as agent:
        agent.hold("theirs", "alice")
        began = time.monotonic()
        ended_with(judged.run("-k", "contract", "--hil-wait=2"), LAB, "held by alice from host", "since 20")
        assert time.monotonic() - began >= 2
        assert not [one for one in users(judged.board) if "--worker" in one.command]
    clean(judged.board)


def test_a_session_that_waited_is_like_any_other(judged: Judged) -> None:
    """The session reports what it waits for, begins when the holder ends, and passes."""
    agent = open_target("board", judged.board.spec()).start_agent()
    agent.hold("theirs", "alice")
    process = judged.start(WAIT)
    until(lambda: len(users(judged.board)) > len(sessions(judged.board, agent.hello["pid"])), 30, "a second agent")
    time.sleep(1)
    assert process.poll() is None
    agent.close()
    ran = judged.end(process, 90)
    assert ran.code == 0, ran.out
    clean(judged.board)


def sessions(board: SimulatedBoard, pid: int) -> list[int]:
    """Return the processes of the first agent, of its sshd session, and their children."""
    return [one.pid for one in users(board) if one.pid == pid or "sshd" in one.command]


def test_a_dead_holder_keeps_nobody_out(judged: Judged, tmp_path: Path) -> None:
    """When a run is killed while timing, the waiting run starts at once and passes."""
    judged.window()
    first = judged.start("-k", "p99")
    judged.worker()
    (tmp_path / "second").mkdir()
    second = Judged.make(tmp_path / "second", judged.board)
    os.killpg(first.pid, signal.SIGKILL)
    ran = second.run(WAIT)
    first.communicate()
    assert ran.code == 0, ran.out
    clean(judged.board)
