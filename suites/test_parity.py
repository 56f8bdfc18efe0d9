"""Parity: the engine answers as the original model does."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from hil.fixtures.check import HilCheck


@pytest.mark.hil("parity.data")
def test_data(hil_check: HilCheck) -> None:
    """Is the validation data real, enough and unseen?"""
    hil_check.judge()


@pytest.mark.hil("parity.outputs")
def test_outputs(hil_check: HilCheck) -> None:
    """Are the engine's outputs those of the reference?"""
    hil_check.judge()


@pytest.mark.hil("parity.repeatable")
def test_repeatable(hil_check: HilCheck) -> None:
    """Does the same input give the same output twice?"""
    hil_check.judge()


@pytest.mark.hil("parity.task")
def test_task(hil_check: HilCheck) -> None:
    """Is the task done as well as by the reference?"""
    hil_check.judge()
