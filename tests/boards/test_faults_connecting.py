"""Faults of the connection, as a run reports them. Each fault's own message: ``tests/targets/ssh/test_reach.py``."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tests.boards.faults import LAB, BoardProject, assert_ended_with

if TYPE_CHECKING:
    from pathlib import Path

    from tests.boards.board import SimulatedBoard


def test_unknown_host_key(board: SimulatedBoard, tmp_path: Path) -> None:
    """An unknown host key ends the run with the command that fetches it; it is not added to known_hosts."""
    board.known_hosts.write_text("", encoding="ascii")
    ran = BoardProject.make(tmp_path, board).run("-k", "contract")
    assert_ended_with(ran, LAB, "ssh-keyscan", "SHA256:")
    assert not board.known_hosts.read_text(encoding="ascii")
