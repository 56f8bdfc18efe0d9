"""The code's layout is within its limits: sizes of folders and modules, import cycles, names that occur twice."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tests import measure_house

if TYPE_CHECKING:
    import pytest


def test_no_bar_of_the_layout_is_missed(capsys: pytest.CaptureFixture[str]) -> None:
    """No folder or module is too large, no imports form a cycle, and no module's name occurs twice without a reason."""
    code = measure_house.main()
    output = capsys.readouterr().out
    assert (code, output.splitlines()[-1]) == (0, "0 bars missed, 0 allowed"), output


def test_a_missed_bar_is_reported(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    """If a module is longer than the limit, the exit code is 1 and the module is listed."""
    monkeypatch.setattr(measure_house, "MOST_LINES", 1)
    assert measure_house.main() == 1
    assert "missed: hil.plan has " in capsys.readouterr().out
