"""``hil deploy``, ``hil rollback`` and ``hil releases`` on a simulated board, across its SSH server."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tests.boards.faults import until

if TYPE_CHECKING:
    from tests.deploy.fleet import Fleet


def test_what_was_judged_runs_and_is_taken_back(fleet: Fleet) -> None:
    """Two deployments and a rollback; after each step, the robot runs exactly the files of one release."""
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
    """A second deployment names the first and exits with code 11; the robot runs one complete release."""
    fleet.target(restart=["/bin/sh", "-c", "sleep 5; exec /home/hil/robot/restart"])
    fleet.mood("well", "first")
    first = fleet.start("deploy", "report", "--to", "rover")
    until(lambda: fleet.robot.log() == ["safe"], 60, "a first deployment that has begun")
    second = fleet.deploy()
    assert first.poll() is None
    assert second.code == 11, second.out
    assert "held by" in second.out
    out, _ = first.communicate(timeout=60)
    assert first.returncode == 0, out
    assert fleet.robot.log() == ["safe", "restart"]
    assert fleet.robot.whole() == fleet.robot.current() == fleet.releases()["current"]


def test_a_robot_that_does_not_get_safe_is_left_alone(fleet: Fleet) -> None:
    """If the ``safe`` hook fails, nothing is switched and the service keeps running."""
    assert fleet.deploy().code == 0
    before = fleet.robot.whole()
    fleet.robot.board.shell("touch", "/home/hil/robot/unsafe")
    fleet.mood("well", "second")
    said = fleet.deploy()
    assert said.code == 1
    assert "safe ended with code 7: the arm does not park" in said.out
    assert fleet.robot.whole() == before
