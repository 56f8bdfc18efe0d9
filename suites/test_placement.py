"""Placement: the precision and the device on which each layer runs."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from hil.fixtures.check import HilCheck


@pytest.mark.hil("placement.declared")
def test_declared(hil_check: HilCheck) -> None:
    """Is the ONNX file quantized as the precision claims?"""
    hil_check.judge()


@pytest.mark.hil("placement.in_precision")
def test_in_precision(hil_check: HilCheck) -> None:
    """How much of the network runs in the precision that was asked for?"""
    hil_check.judge()


@pytest.mark.hil("placement.int8_layers")
def test_int8_layers(hil_check: HilCheck) -> None:
    """Do the layers that benefit from INT8 run in INT8?"""
    hil_check.judge()


@pytest.mark.hil("placement.dla_fallback")
def test_dla_fallback(hil_check: HilCheck) -> None:
    """Do the layers of an engine built for a DLA run there?"""
    hil_check.judge()
