"""Check for regressions: compare a measurement of this run with that of an earlier run, the baseline."""

from __future__ import annotations

from datetime import datetime, timezone
from typing import TYPE_CHECKING, Any

from hil.baseline import highest_clocks, machine, setting
from hil.catalogue import ABOVE, CATALOGUE, EXCLUDE, NOISY
from hil.checks import regression
from hil.config.merge import limits_of
from hil.jetson import identity_fields
from hil.results import Row, Sense
from hil.series import digest_of
from hil.session import records
from hil.session.amendments import amended
from hil.session.gather.gathered import Gathered
from hil.stats.runs import FEWEST

if TYPE_CHECKING:
    from collections.abc import Callable

    from hil.session.engine_context import EngineContext

LOSS = frozenset({"parity.task"})
"""Checks that measure a loss: two of their values are compared by difference instead of ratio."""


def regression_by(gather: Callable[[EngineContext, Row], Gathered]) -> Callable[[EngineContext, Row], Gathered]:
    """Return the gathering function of a ``regression.…`` check. ``gather`` measures the value of this run."""

    def work(session: EngineContext, row: Row) -> Gathered:
        return _compared(session, row, gather)

    return work


def _compared(session: EngineContext, row: Row, gather: Callable[[EngineContext, Row], Gathered]) -> Gathered:
    of = CATALOGUE[CATALOGUE[row.id].regresses]
    compared_row = Row(id=of.id, model=row.model, precision=row.precision, scenario=of.scenario, required=False)
    rules = _rules(session, row, of.id)
    baseline = session.baseline
    key = compared_row.key
    if baseline is None or baseline.why_not or baseline.of(key) is None:  # then there is nothing to measure for
        gathered = Gathered(regression.missing(baseline, key, rules), {})
    else:
        gathered = gather(session, compared_row)
    method = dict(gathered.method)
    if not method:
        return gathered
    judgement = amended(compared_row, gathered.judgement, gathered.facts)  # as the row itself reports it
    environment = records.environment(session, row)
    serial = (identity_fields(session.facts.get("board")) or {}).get("serial")
    measured = regression.MeasuredRow(
        key,
        judgement,
        digest_of(method),
        method,
        machine(serial, environment),
        session.run_id,
        setting(environment),
        highest_clocks(environment),
    )
    if of.id in NOISY:
        judged = regression.by_runs(baseline, measured, row.limit, rules)
    else:
        judged = regression.exactly(baseline, measured, row.limit, rules, difference=of.id in LOSS)
    return Gathered(judged, _method(of.id, digest_of(method), rules))


def _method(of: str, method: str, rules: regression.Rules) -> dict[str, Any]:
    how = "Welch's t on logarithms of run values" if of in NOISY else "exact"
    return {"version": 1, "compared": of, "measured_by": method, "how": how, "above": rules.above}


def _rules(session: EngineContext, row: Row, of: str) -> regression.Rules:
    spec, limits = session.config.spec.measure, limits_of(session.model(row.model).limits, row.precision).regression
    limit = CATALOGUE[of].limit
    return regression.Rules(
        above=ABOVE if limits.above is None else limits.above,
        exclude=EXCLUDE if limits.exclude is None else limits.exclude,
        confidence=spec.confidence,
        rows=sum(CATALOGUE[planned.id].regresses in NOISY for planned in session.plan.rows),
        oldest=spec.baseline_age,
        now=datetime.now(timezone.utc),
        again=f"pytest --target={session.requested} --hil-runs={FEWEST}",
        lower_is_better=limit is None or limit.sense is Sense.AT_MOST,
    )
