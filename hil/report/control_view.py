"""Show the controls of a report: the times of the fixed workload that was timed beside each series."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from hil.units import show

if TYPE_CHECKING:
    from hil.report.schema import Measured, Report
    from hil.results import CheckResult, ControlSummary


def controls(report: Report) -> dict[str, str]:
    """Return the text of each control by its series, in the order of the rows. Rows of one series share a line."""
    lines: dict[str, str] = {}
    rows: list[CheckResult | Measured] = [*report.checks, *report.measurements]
    for row in rows:
        control = None if row.measurement is None else row.measurement.control
        if control is not None:
            name = " ".join(part for part in (row.model, row.precision, row.scenario) if part)
            lines.setdefault(name, control_text(control))
    return lines


def control_text(control: ControlSummary) -> str:
    """Return the median with its interval, the spread and the drift, as text."""
    sides = ("…" if side is None else show(side, "s") for side in (control.low, control.high))
    text = f"{show(control.median, 's')} ({' to '.join(sides)} at 95 %), {control.windows} windows, "
    drift = math.expm1(min(control.drift, 100.0))
    return text + f"spread {control.spread:.2%}, drift {drift:+.2%}; {control.workload}"
