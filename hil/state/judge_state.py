"""Applies all rules on the board's state to the timed windows of a series, and adds the findings to a judgement."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from hil.results import Verdict
from hil.state import clock_rules, disturbances, lost_readings, start_conditions
from hil.state.heat import throttling
from hil.state.services import services
from hil.state.state_types import Contract, Finding, State

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable

    from hil.results import Judgement

OF_MEMORY = ("gpu_clients", "swap", "load")
"""Kinds of findings that affect memory measurements; clocks and heat do not."""

ORDER = ("outside", "own", "noted")


def judge(
    contract: Contract,
    before: State,
    windows: Sequence[Mapping[str, Any]],
    after: State,
    opened: State | None = None,
) -> list[Finding]:
    """Return every disturbance of the timed windows between ``before`` and ``after``, ``outside`` ones first.

    ``windows`` has each window's telemetry (columns as lists: °C, Hz, counts), with readings under ``state`` if there
    are any. Changes since ``opened``, the session's first reading, count too.
    """
    between = [
        State.read(readings[key])
        for readings in map(lost_readings.state_readings, windows)
        for key in ("before", "after")
        if key in readings
    ]
    states = [before, *between, after]
    throttled = throttling(before, windows, after)
    heated = any(finding.source == "own" for finding in throttled)
    since = states if opened is None else [opened, *states]
    findings: list[Finding] = [
        *disturbances.power(contract, since),
        *start_conditions.start_conditions(contract, before),
        *lost_readings.lost(since, windows),
        *lost_readings.silent(windows),
        *clock_rules.locked(contract, states),
        *clock_rules.below_lock(contract, before, windows, heated=heated),
        *clock_rules.limits(since, heated=heated),
        *clock_rules.limits_within(windows, heated=heated),
        *throttled,
        *clock_rules.held_back(before, windows, heated=heated),
        *disturbances.over_current(states),
        *disturbances.gpu_clients(contract, states),
        *disturbances.swap(since),
        *disturbances.load(windows),
        *services(windows),
    ]
    return sorted(dict.fromkeys(findings), key=lambda finding: ORDER.index(finding.source))


def of_facts(facts: Mapping[str, Any]) -> list[Finding]:
    """Return the findings of ``judge`` for the facts of a series (``Series.facts``), also of a saved report.

    A series without a contract has no findings. A series with a contract but without readings has a finding for each
    condition that cannot be confirmed.
    """
    if "contract" not in facts:
        return []
    windows = [window for window in facts.get("windows") or [] if isinstance(window, Mapping)]
    readings = [reading for reading in map(lost_readings.state_readings, windows) if reading]
    before = State.read(readings[0].get("before") if readings else None)
    after = State.read(readings[-1].get("after") if readings else None)
    opened = State.read(facts["opened"]) if facts.get("opened") is not None else None
    return judge(Contract.read(facts["contract"]), before, windows, after, opened)


def fold(judgement: Judgement, findings: Iterable[Finding], kinds: Collection[str] | None = None) -> Judgement:
    """Return the judgement with the findings of ``kinds`` (default: all) added to its reason and details.

    ``outside`` findings make the verdict inconclusive, unless it is ``not_run``. ``noted`` findings are only in the
    details. Without findings of ``kinds``, the judgement is returned unchanged.
    """
    counted = [finding for finding in findings if kinds is None or finding.kind in kinds]
    if not counted:
        return judgement
    others = [finding.text for finding in counted if finding.source == "outside"]
    own = [finding.text for finding in counted if finding.source == "own"]
    reason = judgement.reason
    if own:
        reason = f"{reason}; caused by the model itself: {'; '.join(own)}"
    update: dict[str, Any] = {"reason": reason}
    if others:
        update["reason"] = f"disturbed from outside: {'; '.join(others)}; otherwise {reason}"
        if judgement.verdict is not Verdict.NOT_RUN:
            update["verdict"] = Verdict.INCONCLUSIVE
    listed = [{"kind": finding.kind, "source": finding.source, "text": finding.text} for finding in counted]
    return judgement.model_copy(update={**update, "details": {**judgement.details, "state": listed}})
