"""Faults of the connection: each ends in one message, exit code 11, a clean board, and no pass."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.boards import sshd
from tests.boards.faults import LAB, OTHER, Judged, clean, ended_with, nothing_green

if TYPE_CHECKING:
    from pathlib import Path

    from tests.boards.board import SimulatedBoard

CONTRACT = ("-k", "contract")


@pytest.fixture
def judged(board: SimulatedBoard, tmp_path: Path) -> Judged:
    """A project that passes; the test breaks the connection to its board."""
    return Judged.make(tmp_path, board)


def test_a_healthy_board_passes(judged: Judged) -> None:
    """Without a fault, the project passes; the other tests rely on this."""
    ran = judged.run()
    assert ran.code == 0, ran.out
    clean(judged.board)


def test_wrong_host_key(judged: Judged, tmp_path: Path) -> None:
    """The host connects to no machine with another key; the error has both fingerprints."""
    other = sshd.key_pair(tmp_path / "other")
    known = judged.board.known_hosts
    known.write_text(sshd.known_line(judged.board.host, 22, other), encoding="ascii")
    ended_with(judged.run(*CONTRACT), LAB, "host key", "SHA256:")
    clean(judged.board)


def test_unknown_host_key(judged: Judged) -> None:
    """A host that is not in known_hosts is not added; the error has the command that fetches its key."""
    judged.board.known_hosts.write_text("", encoding="ascii")
    ended_with(judged.run(*CONTRACT), LAB, "ssh-keyscan", "SHA256:")
    assert not judged.board.known_hosts.read_text(encoding="ascii")


def test_refused_key(judged: Judged, tmp_path: Path) -> None:
    """The error says that the board does not accept the key."""
    other = sshd.key_pair(tmp_path / "other")
    judged.target(identity=str(other.private))
    ended_with(judged.run(*CONTRACT), LAB, "key")


def test_unknown_host(judged: Judged) -> None:
    """The error says that the name does not resolve."""
    judged.target(host="nowhere.invalid")
    ended_with(judged.run(*CONTRACT), LAB, "nowhere.invalid")


def test_port_closed(judged: Judged) -> None:
    """A closed port is reported at once."""
    judged.board.sshd(on=False)
    ended_with(judged.run(*CONTRACT), LAB, "nothing listens")


def test_black_hole(judged: Judged) -> None:
    """Connecting fails after ``connect_timeout``."""
    judged.board.black_hole(on=True)
    judged.target(connect_timeout="2 s")
    ended_with(judged.run(*CONTRACT, timeout=40), LAB, "2 s")


def test_fallback_is_never_green(judged: Judged) -> None:
    """By default, an unavailable board is replaced by the CPU; the exit code reports another target."""
    judged.board.sshd(on=False)
    ran = judged.run(fallback="cpu")
    assert ran.code == OTHER, ran.out
    assert "Traceback" not in ran.out
    nothing_green(ran)
