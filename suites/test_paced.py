"""Paced: response times, missed deadlines and jitter of inputs released at a camera's rate."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from hil.fixtures.check import HilCheck


@pytest.mark.hil("paced.response_p99")
def test_response_p99(hil_check: HilCheck) -> None:
    """What is the 99th percentile of the response time at the camera's rate?"""
    hil_check.judge()


@pytest.mark.hil("paced.missed")
def test_missed(hil_check: HilCheck) -> None:
    """What share of inferences misses the deadline?"""
    hil_check.judge()


@pytest.mark.hil("paced.streak")
def test_streak(hil_check: HilCheck) -> None:
    """How many consecutive inferences miss the deadline?"""
    hil_check.judge()


@pytest.mark.hil("paced.jitter")
def test_jitter(hil_check: HilCheck) -> None:
    """How much do response times vary?"""
    hil_check.judge()
