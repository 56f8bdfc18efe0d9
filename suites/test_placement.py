"""Placement: what each layer became, and where it runs."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from hil.fixtures.check import HilCheck


@pytest.mark.hil("placement.int8_layers")
def test_int8_layers(hil_check: HilCheck) -> None:
    """Do the layers that INT8 is for run in INT8?"""
    hil_check.judge()


@pytest.mark.hil("placement.dla_fallback")
def test_dla_fallback(hil_check: HilCheck) -> None:
    """Does what was meant for the DLA run there?"""
    hil_check.judge()
