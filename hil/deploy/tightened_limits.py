"""Find requirements of the current ``hil.toml`` that are stricter than a report's own. Pure functions.

A new row, and a requirement that the report does not record, count as stricter.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from hil.catalogue import ABOVE, CATALOGUE
from hil.checks.tolerances import tightened
from hil.config.limits import ToleranceSpec, TolerancesSpec
from hil.config.merge import limits_of
from hil.results import CLAIM, Sense, Verdict
from hil.session.amendments.expiry import TOLERATED
from hil.state import Contract
from hil.units import show

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from hil.config.spec import ModelSpec, TargetSpec
    from hil.report.schema import Report
    from hil.results import CheckResult, Limit, Row

AGAIN = "run again"
GOOD = frozenset({Verdict.PASSED, Verdict.WARNED})
COMPARING = ("parity.outputs", "sequence.free_running")
"""The checks that compare outputs as golden samples do; the second is for models with a state."""
DEADLINES = frozenset({"paced.missed", "paced.streak"})


def of_rows(report: Report, rows: Sequence[Row], models: Mapping[str, ModelSpec]) -> Iterator[str]:
    """Yield a reason not to deploy for each requirement on ``rows`` that is stricter than in the report.

    ``rows`` and ``models`` are the robot's, from the current ``hil.toml``. Rows that neither passed nor warned are not
    compared: the gate decides on them.
    """
    judged = {check.key: check for check in report.checks}
    for row in rows:
        check = judged.get(row.key)
        if check is None:
            if row.required or row.limit is not None:
                demand = "is required now" if row.limit is None else f"has the limit {_shown(row.limit)} now"
                yield f"{row.name} {demand} and was not judged: {AGAIN}"
        elif check.verdict in GOOD:
            yield from _of_limit(row, check)
            if row.id in CATALOGUE:
                yield from _of_criteria(report, check, models[row.model])
            if row.id in TOLERATED:
                yield from _of_tolerances(check, models[row.model])


def judged_by(report: Report, model: str, precision: str, now: TolerancesSpec | None) -> TolerancesSpec | None:
    """Return the tolerances by which the engine's outputs passed in the report; ``now`` if the report records none.

    ``now`` are the tolerances of ``hil.toml``.
    """
    keys = {(check, model, precision) for check in COMPARING}
    rows = (row for row in report.checks if (row.id, row.model, row.precision) in keys)
    recorded: Any = next((row.details.get("tolerances") for row in rows if row.verdict in GOOD), None)
    if recorded is None:
        return now
    outputs, agreements = {}, []
    for name, output in recorded["outputs"].items():
        bounds = dict(output["bounds"])
        if not output["exact"] and "top1_agreement" in bounds:  # declared once for all outputs that rank classes
            agreements.append(bounds.pop("top1_agreement"))
        outputs[name] = ToleranceSpec.model_construct(**bounds)
    return TolerancesSpec.model_construct(outputs=outputs, top1_agreement=max(agreements, default=None))


def of_state(report: Report, spec: TargetSpec) -> Iterator[str]:
    """Yield a reason for each state setting that the robot declares and the judged target did not declare equally."""
    now, judged = Contract.of(spec).plain(), Contract.read(report.target.contract).plain()
    unset = Contract().plain()
    for key, value in now.items():
        if value not in (unset[key], judged[key]):
            yield f"the robot declares {key} = {value!r}, but the report was judged with {judged[key]!r}: {AGAIN}"


def _of_limit(row: Row, check: CheckResult) -> Iterator[str]:
    now, then = row.limit, check.limit
    if now is None:
        return
    if then is None:
        yield f"{row.name}: the limit is {_shown(now)} now, but it was judged without one: {AGAIN}"
    elif (now.unit, now.sense) != (then.unit, then.sense):
        kind = f"it was judged by a limit of another kind, {_shown(then)}"
        yield f"{row.name}: the limit is {_shown(now)} now, but {kind}: {AGAIN}"
    elif _stricter(now.value, then.value, now.sense) or _stricter(_edge(now), _edge(then), now.sense):
        yield f"{row.name}: the limit is {_shown(now)} now, but it was judged by {_shown(then)}: {AGAIN}"
    yield from _expiry(check.name, "limit", now.expires, None if then is None else then.expires)


def _edge(limit: Limit) -> float:
    """Return the value at which a limit fails: the end of its warning band or, without one, the limit."""
    return limit.value if limit.fail_at is None else limit.fail_at


def _stricter(now: float, then: float, sense: Sense) -> bool:
    return now < then if sense is Sense.AT_MOST else now > then


def _expiry(name: str, what: str, now: str | None, then: str | None) -> Iterator[str]:
    if now is not None and (then is None or now < then):
        before = "had no expiry date" if then is None else f"expired on {then}"
        yield f"{name}: the {what} expires on {now} now, but {before} when it was judged: {AGAIN}"


def _shown(limit: Limit) -> str:
    side = "at most" if limit.sense is Sense.AT_MOST else "at least"
    band = "" if limit.fail_at is None else f" (fails at {show(limit.fail_at, limit.unit)})"
    return f"{side} {show(limit.value, limit.unit)}{band} ({limit.source})"


def _of_criteria(report: Report, check: CheckResult, model: ModelSpec) -> Iterator[str]:
    """Yield reasons from the criteria that a row's method records besides the limit. A smaller value is stricter."""
    criteria: dict[str, tuple[float, str]] = {}
    if CATALOGUE[check.id].regresses:
        above = limits_of(model.limits, check.precision).regression.above
        criteria["above"] = (ABOVE if above is None else above, "1")
    if check.id in DEADLINES and model.run.rate is not None:
        criteria["deadline"] = (1 / model.run.rate if model.run.deadline is None else model.run.deadline, "s")
    measurement = check.measurement
    method = {} if measurement is None else report.methods.get(measurement.method, {})
    for key, (now, unit) in criteria.items():
        then = method.get(key)
        if not isinstance(then, (int, float)):
            yield f"{check.name} does not record its {key}: {AGAIN}"
        elif now < then:
            yield f"{check.name}: {key} is {show(now, unit)} now, but it was judged by {show(then, unit)}: {AGAIN}"


def _of_tolerances(check: CheckResult, model: ModelSpec) -> Iterator[str]:
    recorded: Any = check.details.get("tolerances")
    spec = next((table for precision, table in model.tolerances.items() if precision == check.precision), None)
    try:
        changes = list(tightened(recorded, check.precision, spec))  # type: ignore[arg-type]  # a planned precision
    except (KeyError, TypeError, AttributeError, ValueError):
        yield f"{check.name} does not record its tolerances: {AGAIN}"
        return
    for key, now, then in changes:
        judged = "without one" if then is None else f"by {then:g}"
        yield f"{check.name}: tolerance {key} is {now:g} now, but it was judged {judged}: {AGAIN}"
    few = None if spec is None else spec.no_disagreement_in
    counted = 0 if check.measurement is None else check.measurement.n or 0
    if CLAIM in check.details and (few is None or few > counted):
        yield f"{check.name} passed by a claim that no_disagreement_in no longer accepts: {AGAIN}"
    declared = check.details.get("tolerance_given")
    then = declared.get("expires") if isinstance(declared, dict) else None
    yield from _expiry(check.name, "tolerance", None if spec is None else spec.expires, then)
