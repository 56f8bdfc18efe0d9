"""``hil deploy``, ``hil rollback`` and ``hil releases`` on a simulated board, over SSH."""

from __future__ import annotations

import re
import shutil
from typing import TYPE_CHECKING

import pytest

from tests.boards.board import SimulatedBoard
from tests.boards.faults import until
from tests.boards.generations import facts_of
from tests.deploy.fleet import Fleet
from tests.deploy.robot import HEALTH, HOME, Robot

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from tests.boards.board import Interpreter
    from tests.deploy.fleet import CommandResult

CONTROLS = re.compile("[\x00-\x09\x0b-\x1f\x7f-\x9f\u200b-\u200f\u2028-\u202e\u2066-\u2069]")
HOSTILE = """#!/bin/sh
printf 'ill\\033[2J\\033[1;1H\\r✓ deployed            release 0123\\n::warning::pwned\\302\\2331m\\342\\200\\256'
exit 1
"""
WAITING = ["/bin/sh", "-c", f"until [ -e {HOME}/go ]; do sleep 0.1; done; exec {HOME}/restart"]


@pytest.fixture(scope="module")
def fleet(
    judged: Path, interpreters: Callable[..., Interpreter], tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Fleet]:
    """A copy of the judged project with one robot for all tests of this module."""
    board = SimulatedBoard("jp62", interpreters(facts_of("jp62")["python"]), tmp_path_factory.mktemp("robot"))
    try:
        root = tmp_path_factory.mktemp("fleet") / "project"
        shutil.copytree(judged, root, ignore=shutil.ignore_patterns("cache"))
        yield Fleet.make(root, Robot(board))
    finally:
        board.close()


def running(fleet: Fleet) -> str:
    """Return the running release; deploy one if none runs."""
    if fleet.robot.running_release() is None:
        result = fleet.deploy()
        assert result.code == 0, result.out
    release = fleet.robot.running_release()
    assert release is not None
    return release


def test_deploy_and_roll_back(fleet: Fleet) -> None:
    """After each deployment and after a rollback, the robot runs exactly the files of the expected release."""
    first = fleet.deploy()
    assert first.code == 0, first.out
    assert "evidence is emulated, not device" in first.out
    assert fleet.robot.log()[-2:] == ["safe", "restart"]
    first_release = fleet.robot.running_release()
    assert first_release == fleet.robot.current()
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
    fleet.target(restart=WAITING)
    fleet.mood("well", "at once")
    earlier = len(fleet.robot.log())
    first = fleet.start("deploy", "report", "--to", "rover")
    until(lambda: fleet.robot.log()[earlier:] == ["safe"], 120, "the start of the first deployment")
    second = fleet.deploy()
    assert first.poll() is None
    assert second.code == 11, second.out
    assert "held by" in second.out
    fleet.robot.board.shell("touch", f"{HOME}/go")
    out, _ = first.communicate(timeout=120)
    assert first.returncode == 0, out
    assert fleet.robot.log()[earlier:] == ["safe", "restart"]
    assert fleet.robot.running_release() == fleet.robot.current() == fleet.releases()["current"]
    fleet.target()


def test_a_failed_safe_state_stops_the_deployment(fleet: Fleet) -> None:
    """If the ``safe`` hook fails, no release is switched and the service continues."""
    before = running(fleet)
    fleet.robot.board.shell("touch", f"{HOME}/unsafe")
    fleet.mood("well", "unsafe")
    result = fleet.deploy()
    assert result.code == 1
    assert "safe ended with code 7: the arm does not park" in result.out
    assert fleet.robot.running_release() == before
    fleet.robot.board.shell("rm", f"{HOME}/unsafe")


def test_a_robot_cannot_print_a_success(fleet: Fleet) -> None:
    """Deploy, rollback, releases and their JSON show the health check's output without control characters."""
    running(fleet)
    fleet.mood("well", "before the attack")
    assert fleet.deploy().code == 0
    board = fleet.robot.board
    board.shell("sh", "-c", f"cat >{HOME}/health", stdin=HOSTILE)
    fleet.target(health_within="1 s")
    rollback = fleet.hil("rollback", "rover")
    assert rollback.code == 1
    shows_no_success(rollback)
    fleet.mood("well", "attack")
    result = fleet.deploy()
    assert result.code == 1
    shows_no_success(result)
    for words in (("releases", "rover"), ("releases", "rover", "--json")):
        listed = fleet.hil(*words)
        assert "ill" in listed.out
        assert not CONTROLS.search(listed.out), ascii(listed.out)
    board.shell("sh", "-c", f"cat >{HOME}/health", stdin=HEALTH)
    fleet.target()


def shows_no_success(result: CommandResult) -> None:
    """Assert that the attack is shown as text, and that no line claims success."""
    assert "ill" in result.out, result.out
    assert not CONTROLS.search(result.out), ascii(result.out)
    assert not [line for line in result.out.splitlines() if line.startswith(("✓", "::"))], result.out
