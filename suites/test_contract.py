"""Contract: the engine has the model's inputs and outputs, and rejects invalid input."""

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
    """Does the engine accept every shape the model allows, and no other?"""
    hil_check.judge()


@pytest.mark.hil("contract.bad_input")
def test_bad_input(hil_check: HilCheck) -> None:
    """Does the engine reject invalid input?"""
    hil_check.judge()


@pytest.mark.hil("contract.isaac_ros")
def test_isaac_ros(hil_check: HilCheck) -> None:
    """Does the configuration of the robot's Isaac ROS node match this engine?"""
    hil_check.judge()
