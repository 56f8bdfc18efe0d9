"""Latency: percentiles by their confidence bound, cold load, first inference."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from hil.fixtures.check import HilCheck


@pytest.mark.hil("latency.p50")
def test_p50(hil_check: HilCheck) -> None:
    """What does every second inference take at most?"""
    hil_check.judge()


@pytest.mark.hil("latency.p90")
def test_p90(hil_check: HilCheck) -> None:
    """What do nine of ten inferences take at most?"""
    hil_check.judge()


@pytest.mark.hil("latency.p99")
def test_p99(hil_check: HilCheck) -> None:
    """What do 99 of 100 inferences take at most?"""
    hil_check.judge()


@pytest.mark.hil("latency.cold_load")
def test_cold_load(hil_check: HilCheck) -> None:
    """How long until the engine is loaded?"""
    hil_check.judge()


@pytest.mark.hil("latency.first_inference")
def test_first_inference(hil_check: HilCheck) -> None:
    """How long does the first inference take?"""
    hil_check.judge()
