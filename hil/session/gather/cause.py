"""Diagnose a parity check that did not pass: find the node at fault, and write a folder that reproduces it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from hil.checks.verdicts import plain
from hil.errors import EngineBuildError, EngineError, Unsupported, UserError, WorkerLost
from hil.results import Verdict
from hil.session.amendments.row_facts import Diagnosis
from hil.session.diagnosing import BUDGET, DiagnosisTimeout, examine
from hil.session.tried_floating import tried_floating

if TYPE_CHECKING:
    from hil.checks.comparison import Comparison
    from hil.results import Judgement, Row
    from hil.session.engine_context import EngineContext


def diagnosis_of(session: EngineContext, row: Row, comparison: Comparison, judgement: Judgement) -> Diagnosis | None:
    """Return the diagnosis of ``judgement``; ``None`` if every output is within its tolerance, or none was compared.

    The details have the outcome, and as ``repro`` the folder in the report that reproduces the failure. If there could
    be no diagnosis, they have only the reason, ``diagnosis.why_not``.
    """
    # Between the two bounds of a default, sound and broken engines are both found: the node tells which it is.
    between = judgement.verdict is Verdict.INCONCLUSIVE and not all(
        output["met"] for output in judgement.details.get("outputs", ())
    )
    if not (judgement.verdict is Verdict.FAILED or between) or not comparison.numbers:
        return None
    from hil.diagnose.repro import write
    from hil.diagnose.sentences import sentence

    try:
        examined = examine(session, row.model, row.precision, comparison, BUDGET)
    except (EngineBuildError, EngineError, DiagnosisTimeout, Unsupported, UserError, WorkerLost) as error:
        return Diagnosis({"diagnosis": {"why_not": str(error)}})
    bundle = session.report_dir / "repro" / f"{row.model}-{row.precision}"
    written = write(bundle, examined, session.facts, judgement.reason).relative_to(session.report_dir)
    about = examined.diagnosis.as_json()
    if tried := tried_floating(session, row, examined):
        about["kept_in_float"] = plain(tried)
    details = {"diagnosis": about, "repro": written.as_posix()}
    return Diagnosis(details, sentence(examined.diagnosis))
