"""Sequences: an engine with a state stays close to the original model, step after step."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from hil.fixtures.check import HilCheck


@pytest.mark.hil("sequence.teacher_forced")
def test_teacher_forced(hil_check: HilCheck) -> None:
    """Does each step match the reference if it begins with the reference's state?"""
    hil_check.judge()


@pytest.mark.hil("sequence.free_running")
def test_free_running(hil_check: HilCheck) -> None:
    """Do whole sequences match the reference if the engine is fed with its own state?"""
    hil_check.judge()


@pytest.mark.hil("sequence.reset")
def test_reset(hil_check: HilCheck) -> None:
    """Does a sequence give the same outputs again after another one?"""
    hil_check.judge()


@pytest.mark.hil("sequence.isolation")
def test_isolation(hil_check: HilCheck) -> None:
    """Do sequences that run at the same time leave each other's state alone?"""
    hil_check.judge()
