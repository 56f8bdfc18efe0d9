"""Paced: fed at a camera's rate, what comes late and how unevenly."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from hil.fixtures.check import HilCheck


@pytest.mark.hil("paced.response_p99")
def test_response_p99(hil_check: HilCheck) -> None:
    """What do 99 of 100 take from their release at the camera's rate?"""
    hil_check.judge()


@pytest.mark.hil("paced.missed")
def test_missed(hil_check: HilCheck) -> None:
    """How many of them miss their deadline?"""
    hil_check.judge()


@pytest.mark.hil("paced.streak")
def test_streak(hil_check: HilCheck) -> None:
    """How many in a row?"""
    hil_check.judge()


@pytest.mark.hil("paced.jitter")
def test_jitter(hil_check: HilCheck) -> None:
    """How unevenly do outputs come?"""
    hil_check.judge()
