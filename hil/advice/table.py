"""What a specialist would say next of each row that did not pass, from what was measured in the same run.

A rule is a pure function of one row and of what stands around it; it says something with the numbers that it
stands on, or nothing. What is true of any row of a kind is no advice: that is ``hil.report.view.next_step``.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from hil.advice import accuracy, space, speed, target_state
from hil.advice.report_facts import Around
from hil.report.shown_text import one_line
from hil.results import Verdict

if TYPE_CHECKING:
    from hil.report.schema import Report
    from hil.results import CheckResult

RULES = (*speed.RULES, *space.RULES, *accuracy.RULES, *target_state.RULES)
MOST = 4
"""Pieces of advice a row: whoever is told more does none of it."""
LONGEST = 400


def advice(check: CheckResult, around: Around) -> tuple[str, ...]:
    """What to do about ``check``; empty for a row that passed, and where nothing is known that is particular to it."""
    if check.verdict is Verdict.PASSED:
        return ()
    found = (one_line(said, LONGEST) for rule in RULES for said in rule(check, around))
    return tuple(dict.fromkeys(found))[:MOST]


def advised(report: Report) -> Report:
    """``report`` with the advice of each row in it."""
    around = Around(report)
    rows = tuple(
        check.model_copy(update={"advice": said}) if (said := advice(check, around)) else check
        for check in report.checks
    )
    return report.model_copy(update={"checks": rows})
