"""The rules of the gate, each a question to a report with an answer in one line. Pure functions."""

from __future__ import annotations

import math
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING

from hil.catalogue import CATALOGUE
from hil.errors import ExitCode
from hil.model import EVIDENCE_RANK, Cause, CheckResult, Evidence, Sense, Verdict
from hil.policy import matches
from hil.report.schema import Report, count
from hil.units import show

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence
    from typing import Any

    from hil.config.spec import GateSpec

SKEW = 300.0
"""Seconds by which two clocks may differ before a report of the future is one."""
TWO_DAYS = 48
SHORT = 12
NAMED = 3
"""How many rows a rule names before it counts the rest."""


@dataclass(frozen=True)
class Circumstances:
    """What is true of a report outside of it: the moment it is judged at, and what came of its signature.

    ``unsigned`` says why no key of the policy's signed it, empty where one did; ``signer`` is that key's id.
    """

    now: datetime
    unsigned: str = "no signature was looked for"
    signer: str = ""


@dataclass(frozen=True)
class RuleOutcome:
    """What one rule of the gate saw. ``code`` is the exit code it calls for, 0 if it is content."""

    rule: str
    ok: bool
    saw: str
    code: int = 0


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


def required_rows(report: Report, policy: GateSpec) -> tuple[CheckResult, ...]:
    """The rows that ``policy`` requires, and those that were required by more than the recorded policy."""
    if policy == report.policy:
        # What the recorded policy requires is flagged in the row; the flag is looked at first because it is cheap.
        return tuple(check for check in report.checks if check.required or _named_by(policy, check))
    return tuple(
        check
        for check in report.checks
        if _named_by(policy, check) or (check.required and not _named_by(report.policy, check))
    )


def _named_by(policy: GateSpec, check: CheckResult) -> bool:
    return any(matches(pattern, check.id, check.model, check.precision) for pattern in policy.require)


def rules(
    report: Report,
    policy: GateSpec,
    required: Sequence[CheckResult],
    *,
    full: bool,
    around: Circumstances | None = None,
) -> Iterator[RuleOutcome]:
    """Every rule in the order in which a reader wants to hear of it; ``full`` judges the evidence too.

    ``required`` are the ``required_rows``. Age and signature are judged where ``around`` tells of them.
    """
    fell_back = _fell_back(report)
    yield _complete(report)
    yield _target(report)
    yield _totals(report)
    yield from _ended(report)
    yield _failures(report)
    yield from _required(report, policy, required, fell_back=fell_back)
    yield _warnings(report, policy)
    yield _rejected(report)
    yield _others(report)
    if full:
        yield _evidence(required, policy, fell_back=fell_back)
        yield _real_data(report, policy)
        if policy.detects is not None:
            yield _detects(required, policy.detects)
        if policy.state:
            yield _state(report, policy.state)
    if around is not None and policy.oldest is not None:
        yield _age(report, policy.oldest, around.now)
    if around is not None and policy.signed_by:
        yield _signed(around)


def _named(what: str, checks: Sequence[CheckResult]) -> list[str]:
    """One line that names the rows; what happened to each stands in the rows themselves."""
    if not checks:
        return []
    names = [check.name + (f" ({check.cause.value})" if check.cause else "") for check in checks[:NAMED]]
    more = f" and {len(checks) - NAMED} more" if len(checks) > NAMED else ""
    return [f"{len(checks)} {what}: {', '.join(names)}{more}"]


def _outcome(rule: str, wrong: Sequence[str], good: str, code: int = ExitCode.FAILED) -> RuleOutcome:
    if not wrong:
        return RuleOutcome(rule, ok=True, saw=good)
    return RuleOutcome(rule, ok=False, saw="; ".join(first(wrong, "more")), code=int(code))


def first(lines: Sequence[str], more: str) -> tuple[str, ...]:
    """The first few lines, and how many ``more`` there are."""
    left = len(lines) - NAMED
    return (*lines[:NAMED], *([f"and {left} {more}"] if left > 0 else []))


def _fell_back(report: Report) -> bool:
    return report.target.requested != report.target.used


def _complete(report: Report) -> RuleOutcome:
    wrong = [] if report.status == "complete" else ["the run did not finish: its report is incomplete"]
    return _outcome("complete", wrong, "the run finished")


def _target(report: Report) -> RuleOutcome:
    target = report.target
    elsewhere = sorted({check.target.used for check in report.checks} - {target.requested})
    wrong = []
    if _fell_back(report) or elsewhere:
        used = target.used if _fell_back(report) else ", ".join(elsewhere)
        why = f": {target.fallback_reason}" if target.fallback_reason else ""
        wrong = [f"asked for target {target.requested}, used {used}{why}"]
    return _outcome("target", wrong, f"the target asked for, {target.requested}, was used", ExitCode.OTHER_TARGET)


def _totals(report: Report) -> RuleOutcome:
    ok = report.totals == count(report.checks)
    return _outcome("totals", [] if ok else ["totals do not add up"], f"{report.totals.planned} planned, all accounted")


def _ended(report: Report) -> Iterator[RuleOutcome]:
    """What ended the run from outside the checks; its exit codes come from the recorded facts themselves."""
    for rule, error, code in (
        ("config", report.run.user_error, ExitCode.USER_ERROR),
        ("lab", report.run.lab_error, ExitCode.LAB_ERROR),
    ):
        wrong = [] if error is None else [error or f"the run ended by a {rule} error"]
        yield _outcome(rule, wrong, "no error", code)
    status = report.run.pytest_exit_status
    unusual = status not in (None, 0, 1) and [f"pytest itself ended with status {status}"]
    yield _outcome("pytest", unusual or [], "pytest ran to its end", code=ExitCode.PASSED)


def _required(
    report: Report, policy: GateSpec, required: Sequence[CheckResult], *, fell_back: bool
) -> Iterator[RuleOutcome]:
    nothing = [
        f"{pattern!r} is required and matches no check"
        for pattern in policy.require
        if not any(matches(pattern, check.id, check.model, check.precision) for check in report.checks)
    ]
    if not required:
        nothing.append("the policy requires no check at all, so nothing was asked")
    yield _outcome("required checks exist", nothing, f"{len(required)} required checks")
    absent = [check for check in required if check.verdict is Verdict.NOT_RUN]
    excused = [check for check in absent if fell_back and check.cause is Cause.FALLBACK]
    left = [check for check in absent if not (fell_back and check.cause is Cause.FALLBACK)]
    wrong = _named("required and not run", left)
    yield _outcome("required checks run", wrong, f"{len(required) - len(excused)} required checks were judged")
    lines = [f"{len(excused)} required checks need {report.target.requested}"] if excused else []
    yield _outcome("required on the target", lines, "none was left out by a fallback", ExitCode.OTHER_TARGET)


def _failures(report: Report) -> RuleOutcome:
    failed = [check for check in report.checks if check.verdict is Verdict.FAILED]
    unsettled = [check for check in report.checks if check.verdict is Verdict.INCONCLUSIVE]
    bad = [*_named("failed", failed), *_named("inconclusive", unsettled)]
    return _outcome("verdicts", bad, "no check failed or stayed inconclusive")


def _warnings(report: Report, policy: GateSpec) -> RuleOutcome:
    warned = [check for check in report.checks if check.verdict is Verdict.WARNED]
    if policy.warnings:
        return _outcome("warnings", [], f"{len(warned)} warnings, which the policy allows")
    return _outcome("warnings", _named("warned, and the policy allows no warnings", warned), "no warnings")


def _rejected(report: Report) -> RuleOutcome:
    wrong = [f"{row.id} {row.model} {row.precision}".strip() + f": rejected: {row.reason}" for row in report.rejected]
    return _outcome("results", wrong, "every result answers a planned check")


def _others(report: Report) -> RuleOutcome:
    failed = report.run.other_tests_failed
    wrong = [f"{failed} other test{'s' if failed > 1 else ''} of the same run failed"] if failed else []
    if not wrong and report.run.pytest_exit_status == 1 and not _explained(report):
        wrong = ["pytest ended with status 1 and no check says why"]
    return _outcome("other tests", wrong, "no other test failed")


def _explained(report: Report) -> bool:
    good = (Verdict.PASSED, Verdict.WARNED)
    return bool(report.rejected) or any(check.verdict not in good for check in report.checks)


def _evidence(required: Sequence[CheckResult], policy: GateSpec, *, fell_back: bool) -> RuleOutcome:
    judged = [check for check in required if check.verdict is not Verdict.NOT_RUN]
    wanted = EVIDENCE_RANK[Evidence(policy.evidence)]
    weak = [check for check in judged if evidence_rank(check) < min(wanted, best_rank(check))]
    kinds = sorted({check.evidence.value if check.evidence else "none" for check in weak})
    wrong = [f"evidence {policy.evidence} is required, {len(weak)} checks have {', '.join(kinds)}"] if weak else []
    # A fallback is told once, by its own code: without the board no check can have the board's evidence.
    only_fallback = fell_back and all(check.evidence is Evidence.CPU_FALLBACK for check in weak)
    code = ExitCode.OTHER_TARGET if only_fallback else ExitCode.FAILED
    return _outcome("evidence", wrong, f"{policy.evidence} or better for {len(judged)} required checks", code)


def evidence_rank(check: CheckResult) -> int:
    """How good a row's evidence is (``EVIDENCE_RANK``); ``device`` without work on a GPU or DLA is ``host``."""
    if check.evidence is None:
        return -1
    on_board = check.executed_on is not None and check.executed_on.kind in ("gpu", "dla")
    if check.evidence is Evidence.DEVICE and not on_board:
        return EVIDENCE_RANK[Evidence.HOST]
    return EVIDENCE_RANK[check.evidence]


def best_rank(check: CheckResult) -> int:
    """The best evidence that a row of this kind can have, by the catalogue and whatever the row says of itself."""
    kind = CATALOGUE.get(check.id)
    return EVIDENCE_RANK[Evidence.HOST if kind is not None and kind.on_host else Evidence.DEVICE]


def _real_data(report: Report, policy: GateSpec) -> RuleOutcome:
    names = [model.name for model in report.models if model.synthetic]
    strict = policy.evidence != "host" or not policy.warnings
    wrong = [f"synthetic data says nothing about accuracy: {', '.join(names)}"] if names and strict else []
    return _outcome("data", wrong, "synthetic data, which the policy allows" if names else "real data")


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
    return _outcome("power", wrong, f"{len(seen)} required checks could have seen {show(finest, '1')} or less")


def _state(report: Report, wanted: Sequence[str]) -> RuleOutcome:
    contract = report.target.contract or {}
    undeclared = [key for key in wanted if not _declared(contract, key)]
    name = report.target.used
    wrong = [f"the state contract of {name} says nothing of {', '.join(undeclared)}"] if undeclared else []
    return _outcome("state", wrong, f"the state contract of {name} declares {', '.join(wanted)}, and it held")


def _declared(contract: Mapping[str, Any], key: str) -> bool:
    """Whether the contract asks for something there. Where it was not so, what was measured is inconclusive."""
    if key == "clocks":
        return contract.get("clocks") == "locked"
    if key == "gpu_clients":
        return contract.get("clients_declared") is True
    return bool(contract.get(key))


def _age(report: Report, most: float, now: datetime) -> RuleOutcome:
    age, trouble = age_of(report.run.finished or "", now, most)
    return _outcome("age", [trouble] if trouble else [], f"{ago(age)} old, {ago(most)} are allowed")


def _signed(around: Circumstances) -> RuleOutcome:
    wrong = [around.unsigned] if around.unsigned or not around.signer else []
    return _outcome("signature", wrong, f"signed by key {around.signer[:SHORT]}, which the policy names")
