"""Identifying simulated boards over SSH; not tested on real boards."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from hil.errors import LabError
from hil.jetson import identify
from hil.session.target.board_match import confirm
from hil.targets.target import open_target
from tests.boards.generations import facts_of

if TYPE_CHECKING:
    from tests.boards.board import SimulatedBoard

MODULES = {
    "jp46": ("nano-4gb", "4.6.1"),
    "jp51": ("agx-orin-32gb", "5.1.1"),
    "jp62": ("orin-nx-16gb", "6.2"),
    "jp70": ("thor-t5000", "7.0"),
    "jp72": ("agx-orin-64gb", "7.2"),
}
"""Module and JetPack of each generation."""


def probed(board: SimulatedBoard) -> dict[str, Any]:
    """Return the raw facts that the agent reads."""
    with open_target("board", board.spec()).start_agent() as agent:
        return agent.probe()


@pytest.mark.parametrize("board", MODULES, indirect=True)
def test_each_generation_is_identified(board: SimulatedBoard) -> None:
    """Module, JetPack and serial number are identified; facts that need the driver have a reason instead."""
    slug, jetpack = MODULES[board.generation]
    facts = probed(board)
    identity = identify(facts["board"])
    assert identity.module is not None, identity.why
    assert (identity.module.slug, identity.jetpack, identity.doubts) == (slug, jetpack, ())
    serial = facts_of(board.generation)["serial"]
    assert identity.serial == serial
    assert identity.power_mode in {mode["name"] for mode in facts["board"]["power_modes"]}
    assert facts["board"]["libraries"] == {"nvinfer": None, "cudnn": None}
    assert "libcuda" in facts["board"]["not_readable"]["cuinit"]
    assert confirm("board", board.spec(board=slug, serial=serial), facts) is not None


def test_a_board_other_than_declared_is_a_lab_error(board: SimulatedBoard) -> None:
    """If a board is not the declared one, the message names it; a missing serial number is not confirmed."""
    with pytest.raises(LabError, match=r"is orin-nx-16gb .* not agx-orin-64gb"):
        confirm("board", board.spec(board="agx-orin-64gb"), probed(board))
    with pytest.raises(LabError, match="has serial"):
        confirm("board", board.spec(serial="1"), probed(board))
