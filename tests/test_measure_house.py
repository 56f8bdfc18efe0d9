"""The layout of the code meets its bars: sizes of folders and modules, import cycles, names that occur twice."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tests import measure_house

if TYPE_CHECKING:
    import pytest


def test_no_bar_of_the_layout_is_missed(capsys: pytest.CaptureFixture[str]) -> None:
    """``python -m tests.measure_house`` exits with 0; its last line states that no bar is missed."""
    code = measure_house.main()
    output = capsys.readouterr().out
    assert (code, output.splitlines()[-1]) == (0, "0 bars missed, 0 allowed"), output


def test_a_missed_bar_is_reported(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    """With a bar that the code misses, the exit code is 1 and the offending modules are listed."""
    monkeypatch.setattr(measure_house, "MOST_LINES", 1)
    assert measure_house.main() == 1
    assert "missed: hil.plan has " in capsys.readouterr().out
