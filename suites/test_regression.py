"""Regressions: speed, memory and accuracy compared with the run named by ``--hil-baseline``."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from hil.fixtures.check import HilCheck


@pytest.mark.hil("regression.latency_p50")
def test_latency_p50(hil_check: HilCheck) -> None:
    """Is the median latency worse than the baseline's?"""
    hil_check.judge()


@pytest.mark.hil("regression.latency_p99")
def test_latency_p99(hil_check: HilCheck) -> None:
    """Is the 99th percentile of the latency worse than the baseline's?"""
    hil_check.judge()


@pytest.mark.hil("regression.fps")
def test_fps(hil_check: HilCheck) -> None:
    """Is the frame rate lower than the baseline's?"""
    hil_check.judge()


@pytest.mark.hil("regression.memory")
def test_memory(hil_check: HilCheck) -> None:
    """Is the peak memory larger than the baseline's?"""
    hil_check.judge()


@pytest.mark.hil("regression.engine_size")
def test_engine_size(hil_check: HilCheck) -> None:
    """Is the engine file larger than the baseline's?"""
    hil_check.judge()


@pytest.mark.hil("regression.accuracy")
def test_accuracy(hil_check: HilCheck) -> None:
    """Is the task's score worse than the baseline's?"""
    hil_check.judge()
