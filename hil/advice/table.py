"""Apply the rules of advice to each row that did not pass.

A rule is a pure function of one row and its report. It yields advice, with the run's numbers where it has some, or
nothing.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from hil.advice import accuracy, recurrent, space, speed, target_state
from hil.advice.report_facts import Around
from hil.report.shown_text import one_line
from hil.results import Verdict

if TYPE_CHECKING:
    from hil.report.schema import Report
    from hil.results import CheckResult

RULES = (*speed.RULES, *space.RULES, *recurrent.RULES, *accuracy.RULES, *target_state.RULES)
MOST = 4
"""Largest number of pieces of advice for a row: a longer list would not be acted on."""
LONGEST = 400
"""Largest number of characters of a piece of advice."""


def advice(check: CheckResult, around: Around) -> tuple[str, ...]:
    """Return at most ``MOST`` pieces of advice for ``check``; empty if it passed or no rule applies.

    Only the rules of ``target_state`` apply to a row whose details have ``no_engine``.
    """
    if check.verdict is Verdict.PASSED:
        return ()
    rules = target_state.RULES if check.details.get("no_engine") else RULES
    texts = (one_line(text, LONGEST) for rule in rules for text in rule(check, around))
    return tuple(dict.fromkeys(texts))[:MOST]


def advised(report: Report) -> Report:
    """Return ``report`` with the advice added to each row."""
    around = Around(report)
    rows = tuple(
        check.model_copy(update={"advice": texts}) if (texts := advice(check, around)) else check
        for check in report.checks
    )
    return report.model_copy(update={"checks": rows})
