"""``hil deploy``, ``hil rollback`` and ``hil releases`` on a simulated board, over SSH."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tests.boards.faults import until

if TYPE_CHECKING:
    from tests.deploy.fleet import Fleet


def test_deploy_and_roll_back(fleet: Fleet) -> None:
    """After each deployment and after a rollback, the robot runs exactly the files of the expected release."""
    first = fleet.deploy()
    assert first.code == 0, first.out
    assert "evidence is emulated, not device" in first.out
    assert fleet.robot.log() == ["safe", "restart"]
    first_release = fleet.robot.running_release()
    assert first_release == fleet.robot.current() == fleet.releases()["current"]
    fleet.mood("well", "second")
    second = fleet.deploy()
    assert second.code == 0, second.out
    second_release = fleet.robot.running_release()
    assert second_release not in {first_release, None}
    listing = fleet.releases()
    assert (listing["current"], listing["previous"], listing["sound"]) == (second_release, first_release, True)
    rollback = fleet.hil("rollback", "rover")
    assert rollback.code == 0, rollback.out
    assert fleet.robot.running_release() == first_release == fleet.releases()["current"]
    assert "there is no earlier release" in fleet.hil("rollback", "rover").out


def test_two_deployments_at_once_do_not_interleave(fleet: Fleet) -> None:
    """A second deployment exits with code 11 and names the first; the robot runs one complete release."""
    fleet.target(restart=["/bin/sh", "-c", "sleep 5; exec /home/hil/robot/restart"])
    fleet.mood("well", "first")
    first = fleet.start("deploy", "report", "--to", "rover")
    until(lambda: fleet.robot.log() == ["safe"], 60, "the start of the first deployment")
    second = fleet.deploy()
    assert first.poll() is None
    assert second.code == 11, second.out
    assert "held by" in second.out
    out, _ = first.communicate(timeout=60)
    assert first.returncode == 0, out
    assert fleet.robot.log() == ["safe", "restart"]
    assert fleet.robot.running_release() == fleet.robot.current() == fleet.releases()["current"]


def test_a_failed_safe_state_stops_the_deployment(fleet: Fleet) -> None:
    """If the ``safe`` hook fails, no release is switched and the service continues."""
    assert fleet.deploy().code == 0
    before = fleet.robot.running_release()
    fleet.robot.board.shell("touch", "/home/hil/robot/unsafe")
    fleet.mood("well", "second")
    result = fleet.deploy()
    assert result.code == 1
    assert "safe ended with code 7: the arm does not park" in result.out
    assert fleet.robot.running_release() == before
