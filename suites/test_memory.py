"""Memory: the worker's and the machine's peak, what the model adds, the engine's size, and growth over a soak."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from hil.fixtures.check import HilCheck


@pytest.mark.hil("memory.peak")
def test_peak(hil_check: HilCheck) -> None:
    """What is the peak memory of the worker process?"""
    hil_check.judge()


@pytest.mark.hil("memory.model")
def test_model(hil_check: HilCheck) -> None:
    """How much memory does the model add to the bare runtime?"""
    hil_check.judge()


@pytest.mark.hil("memory.system")
def test_system(hil_check: HilCheck) -> None:
    """What share of the machine's memory is in use at the peak?"""
    hil_check.judge()


@pytest.mark.hil("memory.engine_size")
def test_engine_size(hil_check: HilCheck) -> None:
    """How large is the engine file?"""
    hil_check.judge()


@pytest.mark.hil("memory.growth")
def test_growth(hil_check: HilCheck) -> None:
    """How much memory do 1,000 inferences leave allocated?"""
    hil_check.judge()
