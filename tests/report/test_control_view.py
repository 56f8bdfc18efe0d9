from __future__ import annotations

from hil.report.control_view import control_text, controls
from hil.report.html import render
from hil.results import ControlSummary
from tests.history import run_reports

CONTROL = ControlSummary(workload="net v1", windows=9, median=1e-3, low=0.9e-3, spread=0.01, drift=-0.05)


def test_the_page_shows_the_control_of_each_series() -> None:
    """The page has one line for the control of each series; a report without controls has none."""
    report = run_reports.with_control(1, CONTROL)
    lines = controls(report)
    assert "digits fp32 saturated" in lines
    assert set(lines.values()) == {control_text(CONTROL)}
    assert "Control beside the timed series" in render(report)
    assert controls(run_reports.report(1)) == {}
    assert "Control beside the timed series" not in render(run_reports.report(1))


def test_an_open_interval_and_an_odd_drift_are_shown() -> None:
    """An unknown bound of a control is shown as an ellipsis, and even a huge drift is shown without an error."""
    assert control_text(CONTROL) == ("1 ms (900 µs to … at 95 %), 9 windows, spread 1.00%, drift -4.88%; net v1")
    assert "drift" in control_text(CONTROL.model_copy(update={"drift": 1e300}))
