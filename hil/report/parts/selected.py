"""The part of a report that its user selected, and what the selection left out."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING

from hil.report.parts.next_steps import family
from hil.report.schema import count
from hil.report.shown_text import one_line
from hil.results import Cause

if TYPE_CHECKING:
    from hil.report.schema import Report

LEFT_OUT = frozenset({Cause.DESELECTED, Cause.OUT_OF_SCOPE})
LONGEST = 120
MOST_NAMED = 6


def selected(report: Report) -> Report:
    """Return a ``partial`` report without the rows that its selection left out; any other report unchanged."""
    if report.status != "partial":
        return report
    checks = tuple(check for check in report.checks if check.cause not in LEFT_OUT)
    return report.model_copy(update={"checks": checks, "totals": count(checks)})


def left_out_text(report: Report, selection: str) -> str:
    """Return one line: no gate accepts this report, and what ``selection``, such as ``-k grasp``, left out."""
    families = Counter(family(check) for check in report.checks if check.cause in LEFT_OUT)
    named = [f"{name} {number}" for name, number in families.most_common(MOST_NAMED)]
    more = [f"and {len(families) - MOST_NAMED} more families"] if len(families) > MOST_NAMED else []
    what = f"left out {families.total()} of {len(report.checks)} checks" if families else "left out no check"
    listed = f" ({', '.join([*named, *more])})" if families else ""
    return f"a trial, which no gate accepts: {one_line(selection, LONGEST)} {what}{listed}"
