"""The report on a terminal."""

from __future__ import annotations

from hil.report import view
from hil.report.parts import next_steps
from hil.report.terminal import as_text
from hil.units import show
from tests.report import sample


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


def test_the_next_step_suits_the_check() -> None:
    """The next step for synthetic data is real data of that model, not another tolerance."""
    row = next(check for check in sample.passed().checks if check.id == "parity.data")
    assert f"data of [models.{row.model}] to real validation data" in next_steps.next_step(row)
