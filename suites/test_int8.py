"""INT8: the calibration, its data and ranges, the accuracy lost and the time gained."""

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
    """Do the ranges in use belong to this model and data?"""
    hil_check.judge()


@pytest.mark.hil("int8.calibration_set")
def test_calibration_set(hil_check: HilCheck) -> None:
    """Is the calibration data sufficient, varied, and preprocessed like the validation data?"""
    hil_check.judge()


@pytest.mark.hil("int8.ranges")
def test_ranges(hil_check: HilCheck) -> None:
    """Do the ranges fit the activations of the validation data?"""
    hil_check.judge()


@pytest.mark.hil("int8.repeatable")
def test_repeatable(hil_check: HilCheck) -> None:
    """Does calibrating again reproduce the ranges in use?"""
    hil_check.judge()


@pytest.mark.hil("int8.disjoint")
def test_disjoint(hil_check: HilCheck) -> None:
    """Is the validation data absent from the calibration data?"""
    hil_check.judge()


@pytest.mark.hil("int8.drop")
def test_drop(hil_check: HilCheck) -> None:
    """How much accuracy does quantization lose against FP32 on the same target?"""
    hil_check.judge()


@pytest.mark.hil("int8.speedup")
def test_speedup(hil_check: HilCheck) -> None:
    """How much faster is INT8 than FP32?"""
    hil_check.judge()
