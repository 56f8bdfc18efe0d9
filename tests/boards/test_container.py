"""Containers on a board over SSH: the config is passed to the board's container engine."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

import pytest

from hil.config.spec import ContainerSpec
from hil.errors import LabError
from hil.targets.target import open_target

if TYPE_CHECKING:
    from tests.boards.board import SimulatedBoard


@pytest.mark.parametrize("engine", ["docker", "podman"])
def test_an_engine_that_cannot_be_used_is_one_message(
    board: SimulatedBoard, engine: Literal["docker", "podman"]
) -> None:
    """If image or engine is missing on the board, the run ends with one message; no worker runs without container."""
    container = ContainerSpec(engine=engine, image="hil-test:none", args=("--env", "QUOTES='\"$HOME`!"))
    with open_target("rover", board.spec(container=container)).start_agent() as agent:
        with pytest.raises(LabError, match=f"{engine} (is not installed|is not running|failed|has no )") as caught:
            agent.probe()
        assert "on target 'rover': " in str(caught.value)
        assert not [one for one in board.processes() if "--worker" in one.command]
