"""Contract: the engine takes and gives what the model says, and refuses the rest."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from hil.fixtures.check import HilCheck


@pytest.mark.hil("contract.signature")
def test_signature(hil_check: HilCheck) -> None:
    """Are the engine's inputs and outputs those of the model?"""
    hil_check.judge()


@pytest.mark.hil("contract.shapes")
def test_shapes(hil_check: HilCheck) -> None:
    """Does every shape the model allows run, and no other?"""
    hil_check.judge()


@pytest.mark.hil("contract.bad_input")
def test_bad_input(hil_check: HilCheck) -> None:
    """Is bad input refused instead of computed?"""
    hil_check.judge()


@pytest.mark.hil("contract.isaac_ros")
def test_isaac_ros(hil_check: HilCheck) -> None:
    """Does the robot's Isaac ROS node ask for this engine?"""
    hil_check.judge()
