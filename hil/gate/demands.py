"""Judges the optional rules of a policy, and the rules that depend on who judges the report and when."""

from __future__ import annotations

import math
from dataclasses import dataclass
from datetime import date, datetime, timezone
from typing import TYPE_CHECKING

from hil.gate.rule_outcome import RuleOutcome, outcome
from hil.report.view import guessed_text
from hil.results import Sense, Verdict
from hil.units import show

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence
    from typing import Any

    from hil.config.spec import GateSpec
    from hil.report.schema import Report
    from hil.results import CheckResult

SKEW = 300.0
"""Accepted difference of two clocks in seconds: a run that finished further in the future is refused."""
GOOD = frozenset({Verdict.PASSED, Verdict.WARNED})
TWO_DAYS = 48
SHORT = 12


@dataclass(frozen=True)
class Circumstances:
    """The facts for a judgement that are not in the report: the time, the signature, and what the caller requested.

    Attributes:
        unsigned: why no key of the policy is known to have signed the report; empty if one has.
        signer: the id of the key that signed it, if ``unsigned`` is empty.
        commit: the full hash that is required; ``None``: any.
        run: the run's id that is required; ``None``: any.
        target: the requested target that is required; ``None``: any.
        release: whether the report is to be signed or verified as a pass, or deployed.
    """

    now: datetime
    unsigned: str = "no signature was read"
    signer: str = ""
    commit: str | None = None
    run: str | None = None
    target: str | None = None
    release: bool = False


def demands(report: Report, policy: GateSpec, required: Sequence[CheckResult]) -> Iterator[RuleOutcome]:
    """Yield the outcomes of the optional rules that ``policy`` sets; ``required`` are the rows that it requires."""
    if policy.detects is not None:
        yield _detects(required, policy.detects)
    if policy.state:
        yield _state(report, policy.state)
    # Reports from before the key ``clean`` existed recorded a decision without it: only ``outside`` judges it for them.
    if policy.clean:
        yield _clean(report)


def outside(report: Report, policy: GateSpec, around: Circumstances | None) -> Iterator[RuleOutcome]:
    """Yield the outcomes of the rules that depend on ``around``; nothing if ``around`` is ``None``."""
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


def guess_problem(report: Report) -> str:
    """Return which keys of the run's ``hil.toml`` are unconfirmed guesses, and what to do; empty if there are none."""
    guesses = guessed_text(report)
    fix = "check each, delete its entry under 'guessed' in hil.toml, and run again"
    return f"{guesses}: {fix}" if guesses else ""


def clean_problem(commit: str | None, *, dirty: bool | None, changed: Sequence[str] = ()) -> str:
    """Return why a run was not clean, or why that is unknown; empty if it used only files of ``commit``.

    ``dirty`` is whether it used other files; ``None`` if unknown. ``changed`` names some of these files.
    """
    if not commit:
        return "the run's commit is unknown: run in a git checkout with hil.toml committed, or set gate.clean = false"
    if dirty is None:
        return f"it is unknown whether the run used only files of commit {commit[:SHORT]}: run again where git works"
    files = f": {', '.join(changed)}" if changed else ""
    what = f"the run used files that differ from commit {commit[:SHORT]}{files}"
    return f"{what}: commit them and run again" if dirty else ""


def commit_problem(commit: str | None, required: str, *, dirty: bool | None, changed: Sequence[str] = ()) -> str:
    """Return why a run is not a clean run of the commit ``required``; empty if it is."""
    if commit != required:
        what = f"the run's commit is {(commit or '')[:SHORT] or 'unknown'}, but {required[:SHORT]} is requested"
        return f"{what}: run the checks on that commit"
    return clean_problem(commit, dirty=dirty, changed=changed)


def expiry_problems(check: CheckResult, today: date) -> Iterator[str]:
    """Yield a message if the limit of a passed or warned row has expired, and one if its tolerance has.

    ``today`` is in UTC.
    """
    if check.verdict not in GOOD:
        return
    tolerance = check.details.get("tolerance_given")
    days = {
        "limit": None if check.limit is None else check.limit.expires,
        "tolerance": tolerance.get("expires") if isinstance(tolerance, dict) else None,
    }
    for what, day in days.items():
        if day is not None and not _is_valid_on(day, today):
            yield f"{check.name}: its {what} expired on {str(day)[:20]}"


def _is_valid_on(day: object, today: date) -> bool:
    try:
        return isinstance(day, str) and today <= date.fromisoformat(day)
    except ValueError:  # a date that cannot be parsed counts as expired
        return False


def age_of(finished: str, now: datetime, most: float | None) -> tuple[float, str]:
    """Return the seconds since ``finished`` (ISO 8601), and what is wrong with this time; empty if it is accepted.

    The seconds are 0 if ``finished`` is not a time with a zone. ``most`` is the largest accepted age in seconds
    (``None``: no limit).
    """
    try:
        age = (now - datetime.fromisoformat(finished)).total_seconds()
    except (ValueError, TypeError, OverflowError):  # TypeError: no time zone
        return 0.0, f"the report does not state when the run finished ({finished[:40]!r})"
    if age < -SKEW:
        return age, f"the run finished in the future ({finished}): one of the two clocks is wrong"
    if most is not None and age > most:
        return age, f"the run finished {age_text(age)} ago ({finished}), at most {age_text(most)} are allowed"
    return age, ""


def age_text(seconds: float) -> str:
    """Return a duration as text in the units of the policy, such as ``36 h`` or ``9 days``."""
    hours = max(0.0, seconds) / 3600
    return f"{hours:.3g} h" if hours < TWO_DAYS else f"{hours / 24:.3g} days"


def smallest_change(check: CheckResult) -> float | None:
    """Return the smallest relative change that a row could have detected; infinite if that is unknown.

    For a comparison with a baseline, it is the change that is detected with 90 % statistical power. For a row with a
    limit, it is the distance from the measured value to the worse end of its interval, relative to the limit. Return
    ``None`` for an exact value, for a row without a measurement, and for any other row without a limit.
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
    changes = [(change, check) for check in required if (change := smallest_change(check)) is not None]
    blind = sorted(((change, check) for change, check in changes if change > most), key=lambda pair: -pair[0])
    small = "could not have detected a change of less than"
    wrong = [f"{check.name} {small} {show(change, '1')}" for change, check in blind]
    if wrong:
        wrong[0] = f"a change of {show(most, '1')} must be detectable: {wrong[0]}"
    if not changes:
        wrong = ["no required check can detect a change: require one with an interval, such as latency.p99"]
    largest = max((change for change, _ in changes), default=0.0)
    return outcome(
        "power", wrong, f"{len(changes)} required checks could have detected a change of {show(largest, '1')}"
    )


def _state(report: Report, keys: Sequence[str]) -> RuleOutcome:
    contract = report.target.contract or {}
    undeclared = [key for key in keys if not _declared(contract, key)]
    name = report.target.used
    wrong = [f"the state contract of {name} does not declare {', '.join(undeclared)}"] if undeclared else []
    return outcome("state", wrong, f"the state contract of {name} declares {', '.join(keys)}")


def _declared(contract: Mapping[str, Any], key: str) -> bool:
    """Return whether the state contract requires anything for ``key``, such as locked clocks."""
    if key == "clocks":
        return contract.get("clocks") == "locked"
    if key == "gpu_clients":
        return contract.get("clients_declared") is True
    return bool(contract.get(key))


def _age(report: Report, most: float, now: datetime) -> RuleOutcome:
    age, trouble = age_of(report.run.finished or "", now, most)
    return outcome("age", [trouble] if trouble else [], f"{age_text(age)} old, at most {age_text(most)} are allowed")


def _clean(report: Report) -> RuleOutcome:
    run = report.run
    wrong = clean_problem(run.commit, dirty=run.dirty, changed=run.changed)
    good = f"the run used only files of commit {(run.commit or '')[:SHORT]}"
    return outcome("clean", [wrong] if wrong else [], good)


def _expiry(report: Report, now: datetime) -> RuleOutcome:
    today = now.astimezone(timezone.utc).date()
    wrong = [line for check in report.checks for line in expiry_problems(check, today)]
    _, trouble = age_of(report.run.finished or "", now, None)
    if trouble and not wrong and any(line for check in report.checks for line in expiry_problems(check, date.max)):
        # The date of today is not known to be later than that of the run.
        wrong = [f"a limit or a tolerance has an expiry date, but {trouble}"]
    elif wrong:
        wrong[-1] += ": review it in hil.toml, and run again"
    return outcome("expiry", wrong, "no limit or tolerance has expired")


def _asked_for(report: Report, around: Circumstances) -> Iterator[RuleOutcome]:
    """Yield the outcomes for the requested commit, run and target.

    A requested commit also requires that the run had no uncommitted changes.
    """
    run = report.run
    if around.commit is not None:
        wrong = commit_problem(run.commit, around.commit, dirty=run.dirty, changed=run.changed)
        good = f"the run used only files of commit {around.commit[:SHORT]}"
        yield outcome("commit asked for", [wrong] if wrong else [], good)
    for rule, actual, requested in (("run", run.id, around.run), ("target", report.target.requested, around.target)):
        if requested is not None:
            wrong = f"the report's {rule} is {actual!r}, but {requested!r} is requested: give the report of that {rule}"
            wrong = "" if actual == requested else wrong
            yield outcome(f"{rule} asked for", [wrong] if wrong else [], f"the report's {rule} is {requested}")


def _signed(around: Circumstances) -> RuleOutcome:
    wrong = [around.unsigned] if around.unsigned or not around.signer else []
    return outcome("signature", wrong, f"signed by key {around.signer[:SHORT]}, which the policy names")
