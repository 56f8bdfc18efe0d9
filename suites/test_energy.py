"""Energy: what the board takes for an inference."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from hil.fixtures.check import HilCheck


@pytest.mark.hil("energy.inference")
def test_inference(hil_check: HilCheck) -> None:
    """What energy does the board take for an inference?"""
    hil_check.judge()
