"""Memory: what the process needs, what the model adds, and whether it grows."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from hil.fixtures.check import HilCheck


@pytest.mark.hil("memory.peak")
def test_peak(hil_check: HilCheck) -> None:
    """What does the process need at most?"""
    hil_check.judge()


@pytest.mark.hil("memory.model")
def test_model(hil_check: HilCheck) -> None:
    """What does the model add to the bare runtime?"""
    hil_check.judge()


@pytest.mark.hil("memory.system")
def test_system(hil_check: HilCheck) -> None:
    """Is there memory left for the robot?"""
    hil_check.judge()


@pytest.mark.hil("memory.engine_size")
def test_engine_size(hil_check: HilCheck) -> None:
    """How large is the engine's file?"""
    hil_check.judge()


@pytest.mark.hil("memory.growth")
def test_growth(hil_check: HilCheck) -> None:
    """Does memory grow with every inference?"""
    hil_check.judge()
