"""The report on a terminal."""

from __future__ import annotations

from typing import TYPE_CHECKING

from hil.report import terminal, view
from hil.report.parts import next_steps
from hil.report.terminal import as_text
from hil.units import show
from tests.report import sample

if TYPE_CHECKING:
    import pytest


def test_the_numbers_are_those_of_the_report() -> None:
    """Each model and precision has a row with its measurements, with and without a limit."""
    report = sample.passed()
    text = as_text(report, width=120)
    table = text[text.index(" p50 ") :]
    for (model, precision), values in view.measured(report).items():
        (row,) = [line for line in table.splitlines() if line.strip().startswith(f"{model} {precision} ")]
        assert show(values["latency.p99"].value, "s") in row
        assert show(values["fps.sustained"].value, "1/s").removesuffix(" /s") in row
        assert show(values["memory.peak"].value, "B") in row


def test_what_is_cut_off_is_counted(monkeypatch: pytest.MonkeyPatch) -> None:
    """Each table that shows only some engines states how many more there are."""
    report = sample.passed()
    engines = len(view.measured(report))
    assert engines > 1
    monkeypatch.setattr(terminal, "MOST_GROUPS", 1)
    assert f"… {engines - 1} more: see report.html" in list(terminal.numbers(report).columns[0].cells)


def test_the_next_step_suits_the_check() -> None:
    """The next step for synthetic data is real data of that model, not another tolerance."""
    row = next(check for check in sample.passed().checks if check.id == "parity.data")
    assert f"data of [models.{row.model}] to real validation data" in next_steps.next_step(row)
