"""One board, one session: who comes second waits as long as it was told to, and a dead holder keeps nobody out."""

from __future__ import annotations

import os
import signal
import time
from typing import TYPE_CHECKING

import pytest

from hil.targets.target import open_target
from tests.boards.faults import LAB, Judged, clean, told, until, users

if TYPE_CHECKING:
    from pathlib import Path

    from tests.boards.board import SimulatedBoard

WAIT = "--hil-wait=60"


@pytest.fixture
def judged(board: SimulatedBoard, tmp_path: Path) -> Judged:
    """A healthy project."""
    return Judged.make(tmp_path, board)


def test_waiting_ends_with_its_time(judged: Judged) -> None:
    """Who still holds the board then is told, from where and since when; nothing was started there."""
    with open_target("board", judged.board.spec()).start_agent() as agent:
        agent.hold("theirs", "alice")
        began = time.monotonic()
        told(judged.run("-k", "contract", "--hil-wait=2"), LAB, "held by alice from host", "since 20")
        assert time.monotonic() - began >= 2
        assert not [one for one in users(judged.board) if "--worker" in one.command]
    clean(judged.board)


def test_a_session_that_waited_is_like_any_other(judged: Judged) -> None:
    """It says what it waits for, begins when the holder ends, and is green."""
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
    """Processes of the first agent and of sshd's part in it, and their children."""
    return [one.pid for one in users(board) if one.pid == pid or "sshd" in one.command]


def test_a_dead_holder_keeps_nobody_out(judged: Judged, tmp_path: Path) -> None:
    """A run that was killed outright in the middle of timing is followed at once by one that waits, and is green."""
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
