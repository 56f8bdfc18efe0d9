"""Rules that only some policies have, and rules that depend on who judges and when. Pure functions.

The first: a visible change, a declared state, a clean tree. The second: age, expiry, signature, the commit asked for.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from datetime import date, datetime, timezone
from typing import TYPE_CHECKING

from hil.gate.rule_outcome import RuleOutcome, outcome
from hil.results import Sense, Verdict
from hil.units import show

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence
    from typing import Any

    from hil.config.spec import GateSpec
    from hil.report.schema import Report
    from hil.results import CheckResult

SKEW = 300.0
"""Seconds by which two clocks may differ before a report of the future is one."""
GOOD = frozenset({Verdict.PASSED, Verdict.WARNED})
TWO_DAYS = 48
SHORT = 12


@dataclass(frozen=True)
class Circumstances:
    """What is true of a report outside of it: the moment it is judged at, its signature, and what was asked for.

    ``unsigned`` says why no key of the policy's signed it, empty where one did; ``signer`` is that key's id. ``commit``
    (all its digits), ``run`` and ``target`` are those that the report must be of; ``None`` where any will do.
    """

    now: datetime
    unsigned: str = "no signature was looked for"
    signer: str = ""
    commit: str | None = None
    run: str | None = None
    target: str | None = None


def demands(report: Report, policy: GateSpec, required: Sequence[CheckResult]) -> Iterator[RuleOutcome]:
    """What the policy asks of the report itself, beyond what every policy does."""
    if policy.detects is not None:
        yield _detects(required, policy.detects)
    if policy.state:
        yield _state(report, policy.state)
    # Reports of before the key was there recorded a decision without it: they answer it in ``outside`` alone.
    if policy.clean:
        yield _clean(report)


def outside(report: Report, policy: GateSpec, around: Circumstances | None) -> Iterator[RuleOutcome]:
    """What depends on who judges and when, and what older reports were not asked; nothing without circumstances."""
    if around is None:
        return
    if policy.requires_clean and not policy.clean:
        yield _clean(report)
    if policy.oldest is not None:
        yield _age(report, policy.oldest, around.now)
    yield _expiry(report, around.now)
    if policy.signed_by:
        yield _signed(around)
    yield from _asked_for(report, around)


def not_clean(commit: str | None, *, dirty: bool | None, changed: Sequence[str] = ()) -> str:
    """Why a run was not of ``commit`` alone; empty if it was. What is unknown is not clean."""
    if not commit:
        return "no commit of the run is known: run in a git checkout with hil.toml committed, or set gate.clean = false"
    if dirty is None:
        return f"whether the run used commit {commit[:SHORT]} alone is unknown: run again where git can be asked"
    files = f": {', '.join(changed)}" if changed else ""
    what = f"the run used files that are not those of commit {commit[:SHORT]}{files}"
    return f"{what}: commit them and run again" if dirty else ""


def not_of_commit(commit: str | None, wanted: str, *, dirty: bool | None, changed: Sequence[str] = ()) -> str:
    """Why a run is not of the commit ``wanted``, and of nothing else; empty if it is."""
    if commit != wanted:
        return f"it is of commit {(commit or '')[:SHORT] or 'unknown'}, asked for is {wanted[:SHORT]}"
    return not_clean(commit, dirty=dirty, changed=changed)


def expired(check: CheckResult, today: date) -> Iterator[str]:
    """What a good row was held against that expired before ``today`` (UTC): its limit, its tolerance."""
    if check.verdict not in GOOD:
        return
    given = check.details.get("tolerance_given")
    days = {
        "limit": None if check.limit is None else check.limit.expires,
        "tolerance": given.get("expires") if isinstance(given, dict) else None,
    }
    for what, day in days.items():
        if day is not None and not _holds(day, today):
            yield f"{check.name}: its {what} expired on {str(day)[:20]}"


def _holds(day: object, today: date) -> bool:
    try:
        return isinstance(day, str) and today <= date.fromisoformat(day)
    except ValueError:  # a day that cannot be read is over
        return False


def age_of(finished: str, now: datetime, most: float | None) -> tuple[float, str]:
    """Seconds since a run ``finished``, and what is wrong with that moment: none, in the future, too long ago."""
    try:
        then = datetime.fromisoformat(finished)
        age = (now - then).total_seconds()
    except (ValueError, TypeError, OverflowError):  # TypeError: it has no zone
        return 0.0, f"the report does not say when the run finished ({finished[:40]!r})"
    if age < -SKEW:
        return age, f"the run finished in the future ({finished}): one of the two clocks is wrong"
    if most is not None and age > most:
        return age, f"the run finished {ago(age)} ago ({finished}), at most {ago(most)} are allowed"
    return age, ""


def ago(seconds: float) -> str:
    """``36 h``, ``9 days``: as long as the policy writes it."""
    hours = max(0.0, seconds) / 3600
    return f"{hours:.3g} h" if hours < TWO_DAYS else f"{hours / 24:.3g} days"


def smallest_change(check: CheckResult) -> float | None:
    """The smallest change, as a share, that a row could have seen; ``None`` for an exact value or none at all.

    Of a comparison with a baseline it is the one that it would have seen with 90 % (``hil.stats.runs``). Of a limit it
    is how far the worse end of the interval lies from the value, as a share of the limit: what is smaller hides there.
    """
    measurement, limit = check.measurement, check.limit
    if measurement is None or measurement.confidence is None:
        return None
    if check.id.startswith("regression."):
        visible = check.details.get("visible")
        return float(visible) if isinstance(visible, (int, float)) and not isinstance(visible, bool) else math.inf
    if limit is None:
        return None
    worse = measurement.high if limit.sense is Sense.AT_MOST else measurement.low
    return math.inf if worse is None or not limit.value else abs(worse - measurement.value) / abs(limit.value)


def _detects(required: Sequence[CheckResult], most: float) -> RuleOutcome:
    seen = [(change, check) for check in required if (change := smallest_change(check)) is not None]
    blind = sorted(((change, check) for change, check in seen if change > most), key=lambda pair: -pair[0])
    wrong = [f"{check.name} could not have seen less than {show(change, '1')}" for change, check in blind]
    if wrong:
        wrong[0] = f"a change of {show(most, '1')} must be seen: {wrong[0]}"
    if not seen:
        wrong = ["no required check can see a change: require one with an interval, such as latency.p99"]
    finest = max((change for change, _ in seen), default=0.0)
    return outcome("power", wrong, f"{len(seen)} required checks could have seen {show(finest, '1')} or less")


def _state(report: Report, wanted: Sequence[str]) -> RuleOutcome:
    contract = report.target.contract or {}
    undeclared = [key for key in wanted if not _declared(contract, key)]
    name = report.target.used
    wrong = [f"the state contract of {name} says nothing of {', '.join(undeclared)}"] if undeclared else []
    return outcome("state", wrong, f"the state contract of {name} declares {', '.join(wanted)}, and it held")


def _declared(contract: Mapping[str, Any], key: str) -> bool:
    """Whether the contract asks for something there. Where it was not so, what was measured is inconclusive."""
    if key == "clocks":
        return contract.get("clocks") == "locked"
    if key == "gpu_clients":
        return contract.get("clients_declared") is True
    return bool(contract.get(key))


def _age(report: Report, most: float, now: datetime) -> RuleOutcome:
    age, trouble = age_of(report.run.finished or "", now, most)
    return outcome("age", [trouble] if trouble else [], f"{ago(age)} old, {ago(most)} are allowed")


def _clean(report: Report) -> RuleOutcome:
    run = report.run
    wrong = not_clean(run.commit, dirty=run.dirty, changed=run.changed)
    return outcome("clean", [wrong] if wrong else [], f"the run used commit {(run.commit or '')[:SHORT]} alone")


def _expiry(report: Report, now: datetime) -> RuleOutcome:
    today = now.astimezone(timezone.utc).date()
    wrong = [line for check in report.checks for line in expired(check, today)]
    if wrong:
        wrong[-1] += ": decide again in hil.toml, and run again"
    return outcome("expiry", wrong, "no limit or tolerance has expired")


def _asked_for(report: Report, around: Circumstances) -> Iterator[RuleOutcome]:
    """The report must be the one that was asked for: of that commit alone, of that run, for that target."""
    run = report.run
    if around.commit is not None:
        wrong = not_of_commit(run.commit, around.commit, dirty=run.dirty, changed=run.changed)
        yield outcome("commit asked for", [wrong] if wrong else [], f"it is of commit {around.commit[:SHORT]} alone")
    for rule, actual, wanted in (("run", run.id, around.run), ("target", report.target.requested, around.target)):
        if wanted is not None:
            wrong = "" if actual == wanted else f"it is of {rule} {actual}, asked for is {wanted}"
            yield outcome(f"{rule} asked for", [wrong] if wrong else [], f"it is of {rule} {wanted}")


def _signed(around: Circumstances) -> RuleOutcome:
    wrong = [around.unsigned] if around.unsigned or not around.signer else []
    return outcome("signature", wrong, f"signed by key {around.signer[:SHORT]}, which the policy names")
