"""The root helper on a board over SSH: setup by the user, undoing the changes of a killed session, removal."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

import pytest

from hil.board import install
from hil.board.as_root import PROGRAM, SERVICES, SUDOERS
from hil.targets.target import open_target

if TYPE_CHECKING:
    from tests.boards.board import SimulatedBoard

PASSWORD = "correct horse"  # noqa: S105 - of an account that lives as long as the test


def locked(board: SimulatedBoard) -> bool:
    """Return whether the GPU's clock is pinned."""
    gpu = f"/sys/class/devfreq/{board.facts['devfreq'][0]['name']}"
    return board.read(f"{gpu}/min_freq") == board.read(f"{gpu}/max_freq")


def clocks_become(board: SimulatedBoard, *, are_locked: bool) -> bool:
    """Wait up to 10 s for the clocks to be locked, or unlocked; return whether they are."""
    until = time.monotonic() + 10
    while locked(board) is not are_locked and time.monotonic() < until:
        time.sleep(0.05)
    return locked(board) is are_locked


@pytest.mark.parametrize(
    ("board", "death"), [("jp46", "killed"), ("jp62", "cut"), ("jp70", "killed")], indirect=["board"]
)
def test_clocks_are_restored_after_a_death(board: SimulatedBoard, death: str) -> None:
    """After the death of the agent or the connection, the clocks are restored; removal leaves nothing."""
    board.allow_sudo(PASSWORD)
    before = board.shell("/usr/bin/jetson_clocks", "--show").stdout
    relay = board.relay()
    with open_target("orin", board.spec(host=relay.host, port=relay.port)) as target:
        steps = install.install(target, install.plan(target, ()), lambda _: PASSWORD)
        assert steps[-1] == "the helper answers"
        agent = target.start_agent()
        agent.hold("token", "tests")
        reply = agent.call("prepare", {"services": [], "lock": True})[0]
        assert reply["done"] == ["clocks lock"]
        assert locked(board)
        if death == "killed":
            for process in board.processes():
                if process.user == board.user:
                    board.shell("kill", "-9", str(process.pid), check=False)
        else:
            relay.cut()
        assert clocks_become(board, are_locked=False)
        agent.close()
    assert board.shell("/usr/bin/jetson_clocks", "--show").stdout == before
    with open_target("orin", board.spec()) as target:
        install.remove(target, lambda _: PASSWORD)
    for path in (PROGRAM, SERVICES, SUDOERS, "/run/pytest-hil", "/etc/pytest-hil"):
        assert not board.file(path).exists()
