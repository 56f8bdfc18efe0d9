"""Faults on the way to a board: each ends in one clear message, exit code 11, a clean board, and nothing green."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.boards import sshd
from tests.boards.faults import LAB, OTHER, Judged, clean, nothing_green, told

if TYPE_CHECKING:
    from pathlib import Path

    from tests.boards.board import SimulatedBoard

CONTRACT = ("-k", "contract")


@pytest.fixture
def judged(board: SimulatedBoard, tmp_path: Path) -> Judged:
    """A healthy project; the test breaks the way to its board."""
    return Judged.make(tmp_path, board)


def test_a_healthy_board_passes(judged: Judged) -> None:
    """Green is possible: without this, the other tests would prove nothing."""
    ran = judged.run()
    assert ran.code == 0, ran.out
    clean(judged.board)


def test_wrong_host_key(judged: Judged, tmp_path: Path) -> None:
    """Another machine than the one known is never talked to; both fingerprints are named."""
    other = sshd.key_pair(tmp_path / "other")
    known = judged.board.known_hosts
    known.write_text(sshd.known_line(judged.board.host, 22, other), encoding="ascii")
    told(judged.run(*CONTRACT), LAB, "host key", "SHA256:")
    clean(judged.board)


def test_unknown_host_key(judged: Judged) -> None:
    """A host that is not in known_hosts is not added; the command that would fetch its key is told."""
    judged.board.known_hosts.write_text("", encoding="ascii")
    told(judged.run(*CONTRACT), LAB, "ssh-keyscan", "SHA256:")
    assert not judged.board.known_hosts.read_text(encoding="ascii")


def test_refused_key(judged: Judged, tmp_path: Path) -> None:
    """A key that the board does not accept is told as that."""
    other = sshd.key_pair(tmp_path / "other")
    judged.target(identity=str(other.private))
    told(judged.run(*CONTRACT), LAB, "key")


def test_unknown_host(judged: Judged) -> None:
    """A name that does not resolve is told as that."""
    judged.target(host="nowhere.invalid")
    told(judged.run(*CONTRACT), LAB, "nowhere.invalid")


def test_port_closed(judged: Judged) -> None:
    """Nobody listening is told as that, at once."""
    judged.board.sshd(on=False)
    told(judged.run(*CONTRACT), LAB, "nothing listens")


def test_black_hole(judged: Judged) -> None:
    """Connecting ends after ``connect_timeout``."""
    judged.board.black_hole(on=True)
    judged.target(connect_timeout="2 s")
    told(judged.run(*CONTRACT, timeout=40), LAB, "2 s")


def test_fallback_is_never_green(judged: Judged) -> None:
    """By default the CPU answers for a board that cannot be had, and the exit code says that it is another target."""
    judged.board.sshd(on=False)
    ran = judged.run(fallback="cpu")
    assert ran.code == OTHER, ran.out
    assert "Traceback" not in ran.out
    nothing_green(ran)
