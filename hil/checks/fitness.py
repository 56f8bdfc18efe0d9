"""Decides whether a run can be compared with its baseline."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import TYPE_CHECKING

from hil.checks.verdicts import inconclusive
from hil.results import Cause, Judgement, Limit, Measurement, Verdict
from hil.series import comparable_digest, without_control

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from typing import Any

    from hil.baseline import Baseline, Level
    from hil.results import RowKey

FIELDS_NAMED = 6
DAY = 86400.0


@dataclass(frozen=True)
class MeasuredRow:
    """A row as this run measured it: its judgement, the method (its digest and its facts), the machine and the run.

    ``setting`` is the digest of the settings in the environment, ``clocks`` are the machine's highest clocks in Hz by
    part.
    """

    key: RowKey
    judgement: Judgement
    digest: str
    method: Mapping[str, Any]
    machine: str
    run: str
    setting: str = ""
    clocks: Mapping[str, float] = field(default_factory=dict)


@dataclass(frozen=True)
class Rules:
    """The rules by which a change is judged.

    Attributes:
        above: the relative worsening above which a change is reported.
        exclude: the smallest relative worsening that a pass must exclude.
        confidence: the confidence with which a worsening is reported or excluded.
        rows: how many rows of the run are compared; the error is divided among them (Bonferroni).
        oldest: the age in seconds above which a baseline is stale.
        now: when the run was judged.
        again: the command that makes a new baseline.
        lower_is_better: whether a larger value is a worsening.
    """

    above: float
    exclude: float
    confidence: float
    rows: int
    oldest: float
    now: datetime
    again: str
    lower_is_better: bool = True


def fit(
    baseline: Baseline | None, row: MeasuredRow, limit: Limit | None, rules: Rules, *, exact: bool = False
) -> Level | Judgement:
    """Return the baseline's level (its values of this row) to compare ``row`` with.

    If they cannot be compared, return the judgement that states why instead. ``exact`` values have no noise, and are
    compared even if a row was disturbed or inconclusive.
    """
    level = None if baseline is None else baseline.of(row.key)
    if baseline is None or level is None or not any(level.sessions):
        return missing(baseline, row.key, rules)
    measurement, cause = row.judgement.measurement, row.judgement.cause
    if measurement is None and cause not in (None, Cause.NO_LIMIT):
        return Judgement(verdict=Verdict.NOT_RUN, cause=cause, reason=row.judgement.reason)
    if measurement is None:
        return inconclusive(f"{_name(row.key)} itself was not measured: {row.judgement.reason}", limit)
    if why := next(_unfit(baseline, level, row, measurement, rules), ""):
        return _none(why)
    doubt = "" if exact else _doubt(level, row, rules)
    return inconclusive(doubt, limit) if doubt else level


def missing(baseline: Baseline | None, key: RowKey, rules: Rules) -> Judgement:
    """Return the judgement that the row ``key`` has no baseline; the reason has the command that makes one."""
    name = _name(key)
    if baseline is None:
        return _none(f"nothing to compare {name} with: run again with --hil-baseline=REF (hil history lists runs)")
    if baseline.why_not:
        return _none(f"{baseline.why_not}; to make a baseline: {rules.again}")
    return _none(f"baseline {baseline.ref} has no {name}: measure it first: {rules.again}")


def _none(reason: str) -> Judgement:
    return Judgement(verdict=Verdict.NOT_RUN, cause=Cause.NO_BASELINE, reason=reason)


def _name(key: RowKey) -> str:
    return " ".join(part for part in key[:3] if part)


def _unfit(baseline: Baseline, level: Level, row: MeasuredRow, measurement: Measurement, rules: Rules) -> Iterator[str]:
    """Yield the reasons why ``row`` cannot be compared with ``level``."""
    of = f"baseline {baseline.ref}"
    if row.run in level.runs:
        yield f"{of} is this run itself: name an earlier run"
    if measurement.unit != level.unit:
        units = f"{of} is in {level.unit!r}, this run in {measurement.unit!r}"
        yield f"{units}: not comparable; to make a new baseline: {rules.again}"
    methods = {comparable_digest(baseline.methods.get(digest), digest) for digest in level.methods}
    if methods != {comparable_digest(row.method, row.digest)}:
        fields = _differing([baseline.methods.get(digest, {}) for digest in level.methods], row.method)
        yield f"{of} was measured by another method ({fields}): not comparable; to make a new baseline: {rules.again}"
    if not row.machine or set(level.machines) != {row.machine}:
        unknown = "an unknown machine"
        then, now = ", ".join(filter(None, level.machines)) or unknown, row.machine or unknown
        what = f"{of} was measured on {then}, this run on {now}: the machine may be the cause of a change (confounded)"
        yield f"{what}: make a baseline on this machine: {rules.again}"
    age = rules.now - datetime.fromisoformat(level.newest)
    if age > timedelta(seconds=rules.oldest):
        most = f"measure.baseline_age is {rules.oldest / DAY:.4g} days"
        yield f"{of} is {age / timedelta(days=1):.4g} days old ({most}): make a new baseline: {rules.again}"
    if age < timedelta(0):
        yield f"{of} is dated in the future ({level.newest}): set the clock, or make a new baseline: {rules.again}"


def _doubt(level: Level, row: MeasuredRow, rules: Rules) -> str:
    """Return why the row or its baseline may hide a change, or an empty string."""
    disturbed = any(one.get("source") == "outside" for one in row.judgement.details.get("state", ()))
    if disturbed or row.judgement.verdict is Verdict.INCONCLUSIVE:
        return f"{_name(row.key)} itself is inconclusive: {row.judgement.reason}"
    if level.doubtful:
        what = f"the row was inconclusive in run {level.doubtful[0]} of the baseline, which may hide a change"
        return f"{what}: choose another baseline, or make a new one: {rules.again}"
    return ""


def _differing(then: list[Mapping[str, Any]], now: Mapping[str, Any]) -> str:
    """Return as text up to ``FIELDS_NAMED`` fields in which a method of ``then`` differs from ``now``."""
    changes: dict[str, None] = {}
    for facts in then:
        for key in without_control(dict.fromkeys((*facts, *now))):
            left, right = facts.get(key, "absent"), now.get(key, "absent")
            if left != right:
                changes[f"{key} was {left}, is {right}"] = None
    named = list(changes)[:FIELDS_NAMED]
    more = f"; and {len(changes) - len(named)} more" if len(changes) > len(named) else ""
    return "; ".join(named) + more if named else "its facts were not recorded"
