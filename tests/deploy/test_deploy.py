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


def test_two_at_once_do_not_interleave(fleet: Fleet) -> None:
    """One of them deploys, the other is told who does and ends with the lab's exit code; what runs is whole."""
    fleet.mood("well", "first")
    first = fleet.start("deploy", "report", "--to", "rover")
    second = fleet.start("deploy", "report", "--to", "rover")
    said = [process.communicate(timeout=120) for process in (first, second)]
    codes = sorted((first.returncode, second.returncode))
    assert codes in ([0, 11], [0, 0]), said  # one after the other is no harm
    if codes == [0, 11]:
        assert any("held by" in err or "deployed to by" in err for _, err in said), said
    assert fleet.robot.whole() == fleet.robot.current() == fleet.releases()["current"]


def test_a_robot_that_does_not_get_safe_is_left_alone(fleet: Fleet) -> None:
    """The hook fails: nothing is switched, and the service goes on as it was."""
    assert fleet.deploy().code == 0
    before = fleet.robot.whole()
    fleet.robot.board.shell("touch", "/home/hil/robot/unsafe")
    fleet.mood("well", "second")
    said = fleet.deploy()
    assert said.code == 1
    assert "safe ended with code 7: the arm does not park" in said.out
    assert fleet.robot.whole() == before
