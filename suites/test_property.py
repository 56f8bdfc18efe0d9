"""Properties: what must hold for any valid input, drawn and shrunk by Hypothesis."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from hil.fixtures.check import HilCheck


@pytest.mark.hil("property.parity")
def test_parity(hil_check: HilCheck) -> None:
    """Are outputs those of the reference for whatever the signature allows?"""
    hil_check.judge()


@pytest.mark.hil("property.stable")
def test_stable(hil_check: HilCheck) -> None:
    """Does any valid batch give finite outputs of the right shapes, the same twice, whatever its batch mates?"""
    hil_check.judge()
