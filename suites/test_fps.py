"""FPS: the frame rate, also in the slowest second and over any 100 frames."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from hil.fixtures.check import HilCheck


@pytest.mark.hil("fps.sustained")
def test_sustained(hil_check: HilCheck) -> None:
    """What is the frame rate over the whole series?"""
    hil_check.judge()


@pytest.mark.hil("fps.slowest_second")
def test_slowest_second(hil_check: HilCheck) -> None:
    """How many frames are completed in the slowest second?"""
    hil_check.judge()


@pytest.mark.hil("fps.last_100")
def test_last_100(hil_check: HilCheck) -> None:
    """What is the lowest frame rate over 100 consecutive frames?"""
    hil_check.judge()
