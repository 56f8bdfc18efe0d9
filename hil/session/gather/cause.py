"""What a failed parity check adds to its verdict: the node at fault, and a bundle that shows it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from hil.errors import EngineBuildError, EngineError, Unsupported, UserError, WorkerLost
from hil.results import Verdict
from hil.session.diagnosing import BUDGET, OutOfTime, examine

if TYPE_CHECKING:
    from hil.checks.comparison import Comparison
    from hil.results import Judgement, Row
    from hil.session.engine_context import EngineContext


def explained(session: EngineContext, row: Row, comparison: Comparison, judgement: Judgement) -> Judgement:
    """``judgement``, and where it failed the node that is at fault; a cause that is not found changes no verdict.

    ``details["diagnosis"]`` holds what was found, or ``why_not``; ``details["repro"]`` the bundle's folder in the
    report.
    """
    if judgement.verdict is not Verdict.FAILED or not comparison.numbers:
        return judgement
    from hil.diagnose.repro import write
    from hil.diagnose.sentences import sentence

    details = dict(judgement.details or {})
    try:
        found = examine(session, row.model, row.precision, comparison, BUDGET)
    except (EngineBuildError, EngineError, OutOfTime, Unsupported, UserError, WorkerLost) as error:
        return judgement.model_copy(update={"details": {**details, "diagnosis": {"why_not": str(error)}}})
    details["diagnosis"] = found.diagnosis.as_json()
    folder = session.report_dir / "repro" / f"{row.model}-{row.precision}"
    details["repro"] = write(folder, found, session.facts, judgement.reason).relative_to(session.report_dir).as_posix()
    told = sentence(found.diagnosis)
    reason = f"{judgement.reason}; {told}" if told else judgement.reason
    return judgement.model_copy(update={"reason": reason, "details": details})
