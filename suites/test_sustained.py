"""Sustained: latency and frame rate at the end of minutes of load, when the board has heated up."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from hil.fixtures.check import HilCheck


@pytest.mark.hil("sustained.p99")
def test_p99(hil_check: HilCheck) -> None:
    """What is the 99th percentile of the latency after minutes of load?"""
    hil_check.judge()


@pytest.mark.hil("sustained.fps")
def test_fps(hil_check: HilCheck) -> None:
    """What is the frame rate after minutes of load?"""
    hil_check.judge()


@pytest.mark.hil("sustained.slowdown")
def test_slowdown(hil_check: HilCheck) -> None:
    """How much slower does the model become after minutes of load?"""
    hil_check.judge()
