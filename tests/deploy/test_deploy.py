"""``hil deploy``, ``hil rollback`` and ``hil releases`` on a simulated board, across its SSH server."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from tests.deploy.fleet import Fleet


def test_what_was_judged_runs_and_is_taken_back(fleet: Fleet) -> None:
    """Two releases one after the other, back, and the robot says at each step which it runs, whole."""
    first = fleet.deploy()
    assert first.code == 0, first.out
    assert "evidence is emulated, not device" in first.out
    assert fleet.robot.log() == ["safe", "restart"]
    one = fleet.robot.whole()
    assert one == fleet.robot.current() == fleet.releases()["current"]
    fleet.mood("well", "second")
    second = fleet.deploy()
    assert second.code == 0, second.out
    two = fleet.robot.whole()
    assert two not in {one, None}
    told = fleet.releases()
    assert (told["current"], told["previous"], told["sound"]) == (two, one, True)
    back = fleet.hil("rollback", "rover")
    assert back.code == 0, back.out
    assert fleet.robot.whole() == one == fleet.releases()["current"]
    assert "there is no earlier release" in fleet.hil("rollback", "rover").out
