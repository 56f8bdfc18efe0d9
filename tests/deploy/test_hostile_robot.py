"""A robot whose output attacks the operator's terminal."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from tests.deploy.robot import HOME

if TYPE_CHECKING:
    from tests.deploy.fleet import CommandResult, Fleet

CONTROLS = re.compile("[\x00-\x09\x0b-\x1f\x7f-\x9f\u200b-\u200f\u2028-\u202e\u2066-\u2069]")
HEALTH = """#!/bin/sh
printf 'ill\\033[2J\\033[1;1H\\r✓ deployed            release 0123\\n::warning::pwned\\302\\2331m\\342\\200\\256'
exit 1
"""


def shows_no_success(result: CommandResult) -> None:
    """Assert that the attack is shown as text, and that no line claims success."""
    assert "ill" in result.out, result.out
    assert not CONTROLS.search(result.out), ascii(result.out)
    assert not [line for line in result.out.splitlines() if line.startswith(("✓", "::"))], result.out


def test_a_robot_cannot_print_a_success(fleet: Fleet) -> None:
    """Deploy, rollback, releases and their JSON show the health check's output without control characters."""
    assert fleet.deploy().code == 0
    fleet.mood("well", "second")
    assert fleet.deploy().code == 0
    board = fleet.robot.board
    board.shell("sh", "-c", f"cat >{HOME}/health", stdin=HEALTH)
    fleet.target(health_within="1 s")
    rollback = fleet.hil("rollback", "rover")
    assert rollback.code == 1
    shows_no_success(rollback)
    fleet.mood("well", "third")
    result = fleet.deploy()
    assert result.code == 1
    shows_no_success(result)
    for words in (("releases", "rover"), ("releases", "rover", "--json")):
        listed = fleet.hil(*words)
        assert "ill" in listed.out
        assert not CONTROLS.search(listed.out), ascii(listed.out)
