"""Sustained: minutes of work, judged at their end, when the board is as hot as the model makes it."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from hil.fixtures.check import HilCheck


@pytest.mark.hil("sustained.p99")
def test_p99(hil_check: HilCheck) -> None:
    """What do 99 of 100 inferences take after minutes of work?"""
    hil_check.judge()


@pytest.mark.hil("sustained.fps")
def test_fps(hil_check: HilCheck) -> None:
    """Is the frame rate kept up for minutes?"""
    hil_check.judge()


@pytest.mark.hil("sustained.slowdown")
def test_slowdown(hil_check: HilCheck) -> None:
    """How much slower does the model's own heat make it?"""
    hil_check.judge()
