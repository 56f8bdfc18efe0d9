"""Judge one row: measure, judge, amend the judgement, and return the result with the records that it refers to."""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime, timezone
from types import MappingProxyType
from typing import TYPE_CHECKING

from hil.catalogue import CATALOGUE
from hil.errors import EngineBuildError, EngineError, Unsupported, WorkerLost
from hil.results import Cause, CheckResult, Judgement, Measurement, Row, TargetUse, Verdict
from hil.series import digest_of
from hil.session import records
from hil.session.amendments import amended
from hil.session.amendments.expiry import TOLERATED
from hil.session.amendments.foreign import UNVERIFIABLE
from hil.session.amendments.row_facts import Tolerances
from hil.session.executed_on import evidence_of
from hil.session.gather import GATHER
from hil.session.gather.gathered import Gathered
from hil.session.gather.parity import precision_of, where_of
from hil.session.outcome import Outcome
from hil.text import cleaned

if TYPE_CHECKING:
    from collections.abc import Mapping

    from hil.session.engine_context import EngineContext

NO_ENGINE = {"no_engine": True}
"""Details of a row that failed because the model could not be built or run. Its reason states what to do."""


def judge(session: EngineContext, row: Row) -> Outcome:
    """Measure ``row``, judge it and return the outcome.

    The verdict is ``not_run`` if the check is unsupported, the worker crashed, or the row needs a target that is
    unavailable; it is ``failed`` if the engine cannot be built or run. Raise ``LabError`` if the target is lost or not
    in its declared state, ``UserError`` for a mistake in config or data.
    """
    try:
        gathered = _gather(session, row)
    except Unsupported as error:
        cause = Cause.FALLBACK if session.is_fallback else Cause.UNSUPPORTED
        gathered = _without_number(Verdict.NOT_RUN, str(error), cause)
    except WorkerLost as error:
        gathered = _without_number(Verdict.NOT_RUN, str(error), Cause.CRASHED)
    except (EngineBuildError, EngineError) as error:
        gathered = _without_number(Verdict.FAILED, str(error), None, NO_ENGINE)
    return _outcome(session, row, gathered)


def _gather(session: EngineContext, row: Row) -> Gathered:
    if not session.has_target:
        return _without_number(Verdict.NOT_RUN, f"skipped: {session.fallback_reason}", Cause.FALLBACK)
    if session.is_fallback and CATALOGUE[row.id].needs_target:
        reason = f"needs {session.requested}, and {session.used} was used instead: {session.fallback_reason}"
        return _without_number(Verdict.NOT_RUN, reason, Cause.FALLBACK)
    if row.model:
        session.parts(row.model)  # watch the model's files before the first of them is used
    foreign = _foreign_engine(session, row)
    gathered = GATHER[row.id](session, row)
    saturating = bool(session.engines.facts(row.model, row.precision).get("saturating_sums"))
    facts = replace(
        gathered.facts, foreign_engine=foreign, tolerances=_tolerances(session, row), saturating_sums=saturating
    )
    return replace(gathered, facts=facts)


def _foreign_engine(session: EngineContext, row: Row) -> str | None:
    """Return the file of the row's engine if it was built elsewhere, else ``None``.

    Raises the errors of ``Engines.provisioned``.
    """
    file = session.model(row.model).engine if row.model else None
    if file is not None and row.id in UNVERIFIABLE:
        session.engines.provisioned(row.model, row.precision)  # raises if the target cannot use the file
    return file


def _tolerances(session: EngineContext, row: Row) -> Tolerances | None:
    """Return the tolerances of ``row``, or ``None`` if its check uses no tolerances."""
    if row.id not in TOLERATED:
        return None
    spec = session.model(row.model)
    table = spec.tolerances.get(precision_of(row))
    dtypes = {output.name: output.dtype for output in session.signature(row.model).outputs}
    answered = frozenset(name for name, one in spec.outputs.items() if one.kind is not None or one.decode is not None)
    return Tolerances(precision_of(row), table, dtypes, where_of(session, row)(), answered)


def enter(session: EngineContext, row: Row, judgement: Judgement, *, by_engine: bool = False) -> Outcome:
    """Return the outcome of a check that a user's test has judged.

    ``by_engine`` is true if the test used the engine of the row's model and precision, false if the host did the work.
    """
    method = {"version": 1, "check": row.id, "timed": "by the user's test"}
    return _outcome(session, row, Gathered(judgement, method), by_engine=by_engine)


def _outcome(session: EngineContext, row: Row, gathered: Gathered, *, by_engine: bool | None = None) -> Outcome:
    session.sources.check()
    ran = gathered.judgement.verdict is not Verdict.NOT_RUN or gathered.judgement.measurement is not None
    facts = replace(gathered.facts, today=datetime.now(timezone.utc).date())
    if ran:
        by_engine = not CATALOGUE[row.id].on_host if by_engine is None else by_engine
        evidence, executed_on = evidence_of(session, row, by_engine=by_engine)
        facts = replace(facts, evidence=evidence, executed_on=executed_on)
    judgement = amended(row, gathered.judgement, facts)
    methods, environments = {}, {}
    measurement: Measurement | None = judgement.measurement
    if measurement is not None:
        method = cleaned(dict(gathered.method))  # as the report holds it: its digest must match
        digest, environment = digest_of(method), records.environment(session, row)
        methods[digest] = method
        environments[digest_of(environment)] = environment
        measurement = measurement.model_copy(update={"method": digest, "environment": digest_of(environment)})
    engines = records.engines(session, row) if ran else []
    result = CheckResult(
        id=row.id,
        model=row.model,
        precision=row.precision,
        scenario=row.scenario,
        required=row.required,
        verdict=judgement.verdict,
        reason=judgement.reason,
        cause=judgement.cause,
        evidence=judgement.evidence,
        target=TargetUse(requested=session.requested, used=session.used),
        executed_on=judgement.executed_on,
        measurement=measurement,
        limit=judgement.limit or row.limit,
        engine=engines[0]["digest"] if engines else None,
        details=judgement.details,
        board=session.member,
    )
    return Outcome(
        result=result,
        methods=methods,
        environments=environments,
        engines=engines,
        models=records.models(session, row) if ran else [],
        target=records.target(session),
    )


def _without_number(
    verdict: Verdict, reason: str, cause: Cause | None, details: Mapping[str, bool] = MappingProxyType({})
) -> Gathered:
    return Gathered(Judgement(verdict=verdict, reason=reason, cause=cause, details=dict(details)), {})
