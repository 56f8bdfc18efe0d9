"""Energy: what the board uses per inference."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from hil.fixtures.check import HilCheck


@pytest.mark.hil("energy.inference")
def test_inference(hil_check: HilCheck) -> None:
    """How much energy does the board use per inference?"""
    hil_check.judge()
