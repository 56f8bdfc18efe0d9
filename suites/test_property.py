"""Properties: what must hold for any valid input; Hypothesis draws the inputs and shrinks failing ones."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from hil.fixtures.check import HilCheck


@pytest.mark.hil("property.parity")
def test_parity(hil_check: HilCheck) -> None:
    """Do outputs match the reference for every input that the signature allows?"""
    hil_check.judge()


@pytest.mark.hil("property.stable")
def test_stable(hil_check: HilCheck) -> None:
    """Does every valid batch give finite, repeatable outputs of the declared shapes?"""
    hil_check.judge()
