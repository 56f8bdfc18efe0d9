"""INT8: calibrated on the declared data, and worth it."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from hil.fixtures.check import HilCheck


@pytest.mark.hil("int8.calibration")
def test_calibration(hil_check: HilCheck) -> None:
    """Did calibration run on the declared data?"""
    hil_check.judge()


@pytest.mark.hil("int8.cache")
def test_cache(hil_check: HilCheck) -> None:
    """Are the ranges in use those of this model and this data?"""
    hil_check.judge()


@pytest.mark.hil("int8.calibration_set")
def test_calibration_set(hil_check: HilCheck) -> None:
    """Is the calibration data enough, varied, and prepared like the validation data?"""
    hil_check.judge()


@pytest.mark.hil("int8.ranges")
def test_ranges(hil_check: HilCheck) -> None:
    """Do the ranges fit what flows at validation?"""
    hil_check.judge()


@pytest.mark.hil("int8.repeatable")
def test_repeatable(hil_check: HilCheck) -> None:
    """Does calibrating again give the ranges in use?"""
    hil_check.judge()


@pytest.mark.hil("int8.disjoint")
def test_disjoint(hil_check: HilCheck) -> None:
    """Is the validation data unseen by the calibration?"""
    hil_check.judge()


@pytest.mark.hil("int8.drop")
def test_drop(hil_check: HilCheck) -> None:
    """What does INT8 cost against FP32 on the same target?"""
    hil_check.judge()


@pytest.mark.hil("int8.speedup")
def test_speedup(hil_check: HilCheck) -> None:
    """Was INT8 faster at all?"""
    hil_check.judge()
