"""What only some policies ask: that a change could be seen, a declared state, an age, a signature. Pure functions."""

from __future__ import annotations

import math
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING

from hil.model import Sense
from hil.ruling import RuleOutcome, outcome
from hil.units import show

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence
    from typing import Any

    from hil.config.spec import GateSpec
    from hil.model import CheckResult
    from hil.report.schema import Report

SKEW = 300.0
"""Seconds by which two clocks may differ before a report of the future is one."""
TWO_DAYS = 48
SHORT = 12


@dataclass(frozen=True)
class Circumstances:
    """What is true of a report outside of it: the moment it is judged at, and what came of its signature.

    ``unsigned`` says why no key of the policy's signed it, empty where one did; ``signer`` is that key's id.
    """

    now: datetime
    unsigned: str = "no signature was looked for"
    signer: str = ""


def demands(report: Report, policy: GateSpec, required: Sequence[CheckResult]) -> Iterator[RuleOutcome]:
    """What the policy asks of the report itself, beyond what every policy does."""
    if policy.detects is not None:
        yield _detects(required, policy.detects)
    if policy.state:
        yield _state(report, policy.state)


def outside(report: Report, policy: GateSpec, around: Circumstances | None) -> Iterator[RuleOutcome]:
    """What the policy asks that the report cannot answer; nothing where nobody tells."""
    if around is not None and policy.oldest is not None:
        yield _age(report, policy.oldest, around.now)
    if around is not None and policy.signed_by:
        yield _signed(around)


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


def _signed(around: Circumstances) -> RuleOutcome:
    wrong = [around.unsigned] if around.unsigned or not around.signer else []
    return outcome("signature", wrong, f"signed by key {around.signer[:SHORT]}, which the policy names")
