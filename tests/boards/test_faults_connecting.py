"""Faults of the connection: each ends in one message, exit code 11, a clean board, and no pass."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.boards import sshd
from tests.boards.faults import LAB, OTHER, BoardProject, assert_clean, assert_ended_with, assert_not_passed

if TYPE_CHECKING:
    from pathlib import Path

    from tests.boards.board import SimulatedBoard

CONTRACT = ("-k", "contract")


@pytest.fixture
def project(board: SimulatedBoard, tmp_path: Path) -> BoardProject:
    """A project that passes; the test breaks the connection to its board."""
    return BoardProject.make(tmp_path, board)


def test_a_healthy_board_passes(project: BoardProject) -> None:
    """Without a fault, the project passes; the other tests rely on this."""
    ran = project.run()
    assert ran.code == 0, ran.out
    assert_clean(project.board)


def test_wrong_host_key(project: BoardProject, tmp_path: Path) -> None:
    """The host connects to no machine with another key; the error has both fingerprints."""
    other = sshd.key_pair(tmp_path / "other")
    known = project.board.known_hosts
    known.write_text(sshd.known_line(project.board.host, 22, other), encoding="ascii")
    assert_ended_with(project.run(*CONTRACT), LAB, "host key", "SHA256:")
    assert_clean(project.board)


def test_unknown_host_key(project: BoardProject) -> None:
    """A host that is not in known_hosts is not added; the error has the command that fetches its key."""
    project.board.known_hosts.write_text("", encoding="ascii")
    assert_ended_with(project.run(*CONTRACT), LAB, "ssh-keyscan", "SHA256:")
    assert not project.board.known_hosts.read_text(encoding="ascii")


def test_refused_key(project: BoardProject, tmp_path: Path) -> None:
    """The error says that the board does not accept the key."""
    other = sshd.key_pair(tmp_path / "other")
    project.target(identity=str(other.private))
    assert_ended_with(project.run(*CONTRACT), LAB, "key")


def test_unknown_host(project: BoardProject) -> None:
    """The error says that the name does not resolve."""
    project.target(host="nowhere.invalid")
    assert_ended_with(project.run(*CONTRACT), LAB, "nowhere.invalid")


def test_port_closed(project: BoardProject) -> None:
    """A closed port is reported at once."""
    project.board.sshd(on=False)
    assert_ended_with(project.run(*CONTRACT), LAB, "nothing listens")


def test_black_hole(project: BoardProject) -> None:
    """Connecting fails after ``connect_timeout``."""
    project.board.black_hole(on=True)
    project.target(connect_timeout="2 s")
    assert_ended_with(project.run(*CONTRACT, timeout=40), LAB, "2 s")


def test_fallback_never_passes(project: BoardProject) -> None:
    """By default, an unavailable board is replaced by the CPU; the exit code reports another target."""
    project.board.sshd(on=False)
    ran = project.run(fallback="cpu")
    assert ran.code == OTHER, ran.out
    assert "Traceback" not in ran.out
    assert_not_passed(ran)
