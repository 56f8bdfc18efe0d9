"""One session per board: a second one waits up to its limit, and a killed holder blocks no one."""

from __future__ import annotations

import os
import signal
import time
from typing import TYPE_CHECKING

import pytest

from hil.targets.target import open_target
from tests.boards.faults import (
    BRIEF,
    LAB,
    BoardProject,
    assert_clean,
    assert_ended_with,
    set_window,
    until,
    user_processes,
)

if TYPE_CHECKING:
    from pathlib import Path

    from tests.boards.board import SimulatedBoard

WAIT = "--hil-wait=60"


@pytest.fixture
def project(board: SimulatedBoard, tmp_path: Path) -> BoardProject:
    """A project that passes."""
    return BoardProject.make(tmp_path, board)


def test_waiting_ends_after_its_limit(project: BoardProject) -> None:
    """A run that waits for a held target ends after its limit; the error names the holder, host and start time."""
    with open_target("board", project.board.spec()).start_agent() as agent:
        agent.hold("theirs", "alice")
        began = time.monotonic()
        assert_ended_with(project.run("-k", "contract", "--hil-wait=2"), LAB, "held by alice from host", "since 20")
        assert time.monotonic() - began >= 2
        assert not [one for one in user_processes(project.board) if "--worker" in one.command]
        assert agent.probe()["numpy"]
    assert_clean(project.board)


def test_a_session_that_waited_passes(project: BoardProject) -> None:
    """The session begins when the holder ends, and passes."""
    agent = open_target("board", project.board.spec()).start_agent()
    agent.hold("theirs", "alice")
    project.require_brief()
    process = project.start(WAIT, *BRIEF)
    until(
        lambda: len(user_processes(project.board)) > len(sessions(project.board, agent.hello["pid"])),
        30,
        "a second agent",
    )
    time.sleep(1)
    assert process.poll() is None
    agent.close()
    ran = project.end(process, 90)
    assert ran.code == 0, ran.out
    assert_clean(project.board)


def sessions(board: SimulatedBoard, pid: int) -> list[int]:
    """Return the ids of the agent's process ``pid`` and of the user's sshd processes."""
    return [one.pid for one in user_processes(board) if one.pid == pid or "sshd" in one.command]


def test_a_killed_holder_blocks_no_one(project: BoardProject, tmp_path: Path) -> None:
    """When a run is killed while timing, the waiting run starts at once and passes."""
    set_window(project.local)
    first = project.start("-k", "p99")
    project.worker()
    (tmp_path / "second").mkdir()
    second = BoardProject.make(tmp_path / "second", project.board)
    os.killpg(first.pid, signal.SIGKILL)
    second.require_brief()
    ran = second.run(WAIT, *BRIEF)
    first.communicate()
    assert ran.code == 0, ran.out
    assert_clean(project.board)
