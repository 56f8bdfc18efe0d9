"""Diagnose a parity check that did not pass: find the node at fault, and write a folder that reproduces it.

If a task loses nearly all of its score, find the node after which values no longer vary (the end of the signal).
"""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Any, Protocol

from hil.checks.verdicts import plain
from hil.errors import EngineBuildError, EngineError, Unsupported, UserError, WorkerLost
from hil.results import Verdict
from hil.session.amendments.row_facts import Diagnosis
from hil.session.diagnosing import BUDGET, DiagnosisTimeout, examine, worst_batch
from hil.session.tried_floating import Scored, tried_floating

if TYPE_CHECKING:
    from collections.abc import Callable

    from hil.checks.comparison import Comparison
    from hil.metrics import Metric
    from hil.results import Judgement, Row
    from hil.session.diagnosing import Chosen, Examined
    from hil.session.engine_context import EngineContext

NEARLY_ALL = 0.9
"""If an engine loses at least this share of the reference's score, the end of the signal is searched for."""


class Compared(Scored, Protocol):
    """The comparison of an engine with its reference, and their scores."""

    comparison: Comparison


class NoScores:
    """The scores of a comparison without a task."""

    def __init__(self) -> None:
        self.metric: Metric | None = None
        self.reference: list[Any] = []
        self.candidate: list[Any] = []


FAILURES = (EngineBuildError, EngineError, DiagnosisTimeout, Unsupported, UserError, WorkerLost)
"""The errors after which a row has no diagnosis; its details then have the reason."""


def diagnosis_of(session: EngineContext, row: Row, compared: Compared, judgement: Judgement) -> Diagnosis | None:
    """Return what ``located`` returns for the batch with the largest error; ``None`` if nothing was compared."""
    if not compared.comparison.numbers:
        return None
    return located(session, row, judgement, partial(worst_batch, session, row.model, compared.comparison), compared)


def located(
    session: EngineContext, row: Row, judgement: Judgement, choose: Callable[[], Chosen], scored: Scored
) -> Diagnosis | None:
    """Search for the node at fault, write the folder that reproduces it, and return the diagnosis.

    ``choose`` returns the inputs to examine. The search is made only for a failed judgement, or for an inconclusive
    judgement with an output outside its tolerance. Return ``None`` for other judgements, and if the session does not
    explain failures. If the search fails, the details have only ``diagnosis.why_not``.
    """
    # Between the two bounds of a default tolerance lie sound and broken engines: the node shows which one this is.
    between = judgement.verdict is Verdict.INCONCLUSIVE and not all(
        output["met"] for output in judgement.details.get("outputs", ())
    )
    if not session.explains or not (judgement.verdict is Verdict.FAILED or between):
        return None
    from hil.diagnose.repro import write
    from hil.diagnose.sentences import sentence

    try:
        examined = _examined(session, row, choose)
    except FAILURES as error:
        return Diagnosis({"diagnosis": {"why_not": str(error)}})
    bundle = session.report_dir / "repro" / f"{row.model}-{row.precision}"
    written = write(bundle, examined, session.facts, judgement.reason).relative_to(session.report_dir)
    about = examined.diagnosis.as_json()
    if tried := tried_floating(session, row, examined, scored):
        about["kept_in_float"] = plain(tried)
    details = {"diagnosis": about, "repro": written.as_posix()}
    return Diagnosis(details, sentence(examined.diagnosis))


def _examined(session: EngineContext, row: Row, choose: Callable[[], Chosen]) -> Examined:
    """Return the diagnosis of the row's engine, which is made once for all rows. Raises ``FAILURES``."""

    def work() -> Examined:
        return examine(session, row.model, row.precision, choose, BUDGET)

    return session.memo.once(("examined", row.model, row.precision), work, lasting=FAILURES)


def signal_end_of(
    session: EngineContext, row: Row, comparison: Comparison, judgement: Judgement, *, shares: bool
) -> Diagnosis | None:
    """Return, as a diagnosis, the node after which values that should vary are constant: the signal ends there.

    ``judgement`` is that of the task. ``shares`` is true if the task's score is a share of right answers. The search is
    made only for a failed judgement, if nearly all of such a score is lost or an output is dead. Return ``None`` for
    other judgements, if nothing was compared, and if the session does not explain failures. If the node is not
    identified, ``signal_end.why_not`` in the details is the reason.
    """
    if not session.explains or judgement.verdict is not Verdict.FAILED or not comparison.numbers:
        return None
    lost = shares and _nearly_all(judgement.details)
    if not lost and not any(output["dead"] for output in comparison.judge().details.get("outputs", ())):
        return None
    from hil.diagnose import sentences

    try:
        diagnosis = _examined(session, row, partial(worst_batch, session, row.model, comparison)).diagnosis
    except FAILURES as error:
        return Diagnosis({"signal_end": {"why_not": str(error)}})
    end = diagnosis.as_json()["signal_end"]
    if end is None:
        what = "in the examined samples, every output of the engine varies, or no single node makes an output constant"
        return Diagnosis({"signal_end": {"why_not": what}})
    text = sentences.signal_end(diagnosis)
    return Diagnosis({"signal_end": {**end, "text": text}}, text)


def _nearly_all(details: dict[str, Any]) -> bool:
    ours, theirs = details.get("reference"), details.get("candidate")
    return ours is not None and theirs is not None and ours > 0 and theirs <= (1 - NEARLY_ALL) * ours
