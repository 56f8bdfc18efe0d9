"""A row judged: gathered, amended, and stored with all that its digests refer to."""

from __future__ import annotations

from typing import TYPE_CHECKING

from hil.catalogue import CATALOGUE
from hil.errors import EngineBuildError, EngineError, Unsupported, WorkerLost
from hil.results import Cause, CheckResult, Judgement, Measurement, Row, TargetUse, Verdict
from hil.series import digest_of
from hil.session import records
from hil.session.amendments import evidence, expiry, foreign
from hil.session.gather import GATHER
from hil.session.gather.gathered import Gathered
from hil.session.outcome import Outcome

if TYPE_CHECKING:
    from hil.session.engine_context import EngineContext


def judge(session: EngineContext, row: Row) -> Outcome:
    """Runs what ``row`` asks and judges it. What the runtime cannot do, or a dead worker, is a result too.

    Raises ``LabError`` if the target was lost and ``UserError`` for a mistake in the config or data.
    """
    try:
        gathered = _gather(session, row)
    except Unsupported as error:
        cause = Cause.FALLBACK if session.is_fallback else Cause.UNSUPPORTED
        gathered = _without_number(Verdict.NOT_RUN, str(error), cause)
    except WorkerLost as error:
        gathered = _without_number(Verdict.NOT_RUN, str(error), Cause.CRASHED)
    except (EngineBuildError, EngineError) as error:
        gathered = _without_number(Verdict.FAILED, str(error), None)
    return _outcome(session, row, gathered)


def _gather(session: EngineContext, row: Row) -> Gathered:
    if not session.has_target:
        return _without_number(Verdict.NOT_RUN, f"skipped: {session.fallback_reason}", Cause.FALLBACK)
    if session.is_fallback and CATALOGUE[row.id].needs_target:
        reason = f"needs {session.requested}; {session.used} was used in its place: {session.fallback_reason}"
        return _without_number(Verdict.NOT_RUN, reason, Cause.FALLBACK)
    if row.model:
        session.parts(row.model)  # watched from before the first of them is used
    return expiry.held(session, row, foreign.doubted(session, row, GATHER[row.id]))


def enter(session: EngineContext, row: Row, judgement: Judgement, *, by_engine: bool = False) -> Outcome:
    """A verdict that a user's own check reached, as a result of this session.

    ``by_engine`` says that the test had the engine of the row's model and precision run: without it, its
    work was the host's.
    """
    method = {"version": 1, "check": row.id, "timed": "by the user's test"}
    return _outcome(session, row, Gathered(judgement, method), by_engine=by_engine)


def _outcome(session: EngineContext, row: Row, gathered: Gathered, *, by_engine: bool | None = None) -> Outcome:
    session.sources.check()
    judgement = gathered.judgement
    methods, environments = {}, {}
    measurement: Measurement | None = judgement.measurement
    if measurement is not None:
        digest, environment = digest_of(gathered.method), records.environment(session, row)
        methods[digest] = dict(gathered.method)
        environments[digest_of(environment)] = environment
        update = {"method": digest, "environment": digest_of(environment)}
        measurement = measurement.model_copy(update=update)
    ran = judgement.verdict is not Verdict.NOT_RUN or measurement is not None
    engines = records.engines(session, row) if ran else []
    by_engine = not CATALOGUE[row.id].on_host if by_engine is None else by_engine
    where = evidence.of(session, row, by_engine=by_engine) if ran else evidence.NOWHERE
    result = CheckResult(
        id=row.id,
        model=row.model,
        precision=row.precision,
        scenario=row.scenario,
        required=row.required,
        verdict=judgement.verdict,
        reason=judgement.reason,
        cause=judgement.cause,
        evidence=where.evidence,
        target=TargetUse(requested=session.requested, used=session.used),
        executed_on=where.executed_on,
        measurement=measurement,
        limit=judgement.limit or row.limit,
        engine=engines[0]["digest"] if engines else None,
        details=judgement.details,
    )
    return Outcome(
        result=result,
        methods=methods,
        environments=environments,
        engines=engines,
        models=records.models(session, row) if ran else [],
        target=records.target(session),
    )


def _without_number(verdict: Verdict, reason: str, cause: Cause | None) -> Gathered:
    return Gathered(Judgement(verdict=verdict, reason=reason, cause=cause), {})
