"""Latency: percentiles by their confidence bound, cold load, first inference."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from hil.fixtures.check import HilCheck


@pytest.mark.hil("latency.p50")
def test_p50(hil_check: HilCheck) -> None:
    """What is the median latency?"""
    hil_check.judge()


@pytest.mark.hil("latency.p90")
def test_p90(hil_check: HilCheck) -> None:
    """What is the 90th percentile of the latency?"""
    hil_check.judge()


@pytest.mark.hil("latency.p99")
def test_p99(hil_check: HilCheck) -> None:
    """What is the 99th percentile of the latency?"""
    hil_check.judge()


@pytest.mark.hil("latency.cold_load")
def test_cold_load(hil_check: HilCheck) -> None:
    """How long does it take to load the engine?"""
    hil_check.judge()


@pytest.mark.hil("latency.first_inference")
def test_first_inference(hil_check: HilCheck) -> None:
    """How long does the first inference take?"""
    hil_check.judge()


@pytest.mark.hil("latency.speedup")
def test_speedup(hil_check: HilCheck) -> None:
    """How much faster is this precision than another one?"""
    hil_check.judge()
