"""Parity: the engine's outputs match the original model's."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from hil.fixtures.check import HilCheck


@pytest.mark.hil("parity.data")
def test_data(hil_check: HilCheck) -> None:
    """Is the validation data real, sufficient and not part of the training data?"""
    hil_check.judge()


@pytest.mark.hil("parity.outputs")
def test_outputs(hil_check: HilCheck) -> None:
    """Do the engine's outputs match the reference?"""
    hil_check.judge()


@pytest.mark.hil("parity.repeatable")
def test_repeatable(hil_check: HilCheck) -> None:
    """Does the same batch give the same outputs twice, bit for bit?"""
    hil_check.judge()


@pytest.mark.hil("parity.task")
def test_task(hil_check: HilCheck) -> None:
    """Does the engine do the task as well as the reference?"""
    hil_check.judge()
