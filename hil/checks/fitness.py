"""May a run be compared with its baseline? Not with one that is missing, stale, of another method or machine."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import TYPE_CHECKING

from hil.checks.verdicts import inconclusive
from hil.results import Cause, Judgement, Limit, Measurement, Verdict

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from typing import Any

    from hil.baseline import Baseline, Level
    from hil.results import RowKey

FIELDS_NAMED = 6
DAY = 86400.0


@dataclass(frozen=True)
class Seen:
    """What this run measured of a row, by which method (``digest`` and facts), on which machine, in which run."""

    key: RowKey
    judgement: Judgement
    digest: str
    method: Mapping[str, Any]
    machine: str
    run: str


@dataclass(frozen=True)
class Rules:
    """By which a change is judged.

    A worsening is called beyond ``above`` (relative) and excluded from ``exclude`` on, at ``confidence``. ``rows`` is
    how many rows of the run are judged so, planned before any was measured: all of them together cry wolf no more
    often than one would (Bonferroni). A baseline is stale ``oldest`` seconds before ``now``; ``again`` is the command
    that makes another.
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
    baseline: Baseline | None, seen: Seen, limit: Limit | None, rules: Rules, *, exact: bool = False
) -> Level | Judgement:
    """The level that ``seen`` may be compared with, or the judgement that there is none and what mends it.

    What is ``exact`` is so whether its own row was settled or not.
    """
    level = None if baseline is None else baseline.of(seen.key)
    if baseline is None or level is None or not any(level.sessions):
        return missing(baseline, seen.key, rules)
    measurement, cause = seen.judgement.measurement, seen.judgement.cause
    if measurement is None and cause not in (None, Cause.NO_LIMIT):
        return Judgement(verdict=Verdict.NOT_RUN, cause=cause, reason=seen.judgement.reason)
    if measurement is None:
        return inconclusive(f"{_name(seen.key)} itself was not measured: {seen.judgement.reason}", limit)
    if why := next(_unfit(baseline, level, seen, measurement, rules), ""):
        return _none(why)
    doubt = "" if exact else _doubt(level, seen, rules)
    return inconclusive(doubt, limit) if doubt else level


def missing(baseline: Baseline | None, key: RowKey, rules: Rules) -> Judgement:
    """That there is nothing to compare the row ``key`` with, and what to run."""
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


def _unfit(baseline: Baseline, level: Level, seen: Seen, measurement: Measurement, rules: Rules) -> Iterator[str]:
    """Why the two may not be compared; nothing where they may."""
    of = f"baseline {baseline.ref}"
    if seen.run in level.runs:
        yield f"{of} is this very run: name an earlier one"
    if measurement.unit != level.unit:
        yield f"{of} is in {level.unit!r}, this run in {measurement.unit!r}: not comparable: {rules.again}"
    if set(level.methods) != {seen.digest}:
        fields = _differing([baseline.methods.get(digest, {}) for digest in level.methods], seen.method)
        yield f"{of} was measured by another method ({fields}): not comparable; to make one alike: {rules.again}"
    if not seen.machine or set(level.machines) != {seen.machine}:
        then, now = ", ".join(filter(None, level.machines)) or "an unknown machine", seen.machine or "an unknown one"
        what = f"{of} is of {then}, this run of {now}: a change may be the machine's (confounded)"
        yield f"{what}: make a baseline on this one: {rules.again}"
    age = rules.now - datetime.fromisoformat(level.newest)
    if age > timedelta(seconds=rules.oldest):
        most = f"measure.baseline_age is {rules.oldest / DAY:.4g} days"
        yield f"{of} is {age / timedelta(days=1):.4g} days old ({most}): make a new one: {rules.again}"
    if age < timedelta(0):
        yield f"{of} lies in the future ({level.newest}): set the clock, or make a new one: {rules.again}"


def _doubt(level: Level, seen: Seen, rules: Rules) -> str:
    """Why one of the two may hide a change, or an empty string."""
    disturbed = any(one.get("source") == "outside" for one in seen.judgement.details.get("state", ()))
    if disturbed or seen.judgement.verdict is Verdict.INCONCLUSIVE:
        return f"{_name(seen.key)} itself is not settled: {seen.judgement.reason}"
    if level.doubtful:
        what = f"it was inconclusive in run {level.doubtful[0]} of the baseline, which may hide a change"
        return f"{what}: take another baseline, or make one: {rules.again}"
    return ""


def _differing(then: list[Mapping[str, Any]], now: Mapping[str, Any]) -> str:
    """The fields in which methods differ, both values told."""
    found: dict[str, None] = {}
    for facts in then:
        for key in dict.fromkeys((*facts, *now)):
            left, right = facts.get(key, "absent"), now.get(key, "absent")
            if left != right:
                found[f"{key} was {left}, is {right}"] = None
    named = list(found)[:FIELDS_NAMED]
    more = f"; and {len(found) - len(named)} more" if len(found) > len(named) else ""
    return "; ".join(named) + more if named else "its facts are lost"
