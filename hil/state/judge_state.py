"""All rules over one timed window or series, and what their findings do to a verdict."""

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
"""What disturbs a reading of memory; clocks and heat do not."""

ORDER = ("outside", "own", "told")


def judge(
    contract: Contract,
    before: State,
    windows: Sequence[Mapping[str, Any]],
    after: State,
    opened: State | None = None,
) -> list[Finding]:
    """Every disturbance of what was timed between ``before`` and ``after``, the worst kind first.

    ``windows`` are the telemetry of each timed stretch (columns as lists, °C, Hz, counts), each with its own
    readings under ``state`` (``before``, ``after``) where it has them.
    ``opened`` is the session's first reading: what has changed since then has changed, between windows or in one.
    """
    between = [
        State.read(told[key]) for told in map(lost_readings.told, windows) for key in ("before", "after") if key in told
    ]
    states = [before, *between, after]
    throttled = throttling(before, windows, after)
    heated = any(one.source == "own" for one in throttled)
    since = states if opened is None else [opened, *states]
    found: list[Finding] = [
        *disturbances.power(contract, since),
        *start_conditions.met(contract, before),
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
    return sorted(dict.fromkeys(found), key=lambda one: ORDER.index(one.source))


def of_facts(facts: Mapping[str, Any]) -> list[Finding]:
    """``judge`` over what a series keeps (``Series.facts``), so that a saved report is judged the same again.

    A series that was taken without a contract has nothing to be held to; one whose readings are missing has
    nothing to show for its contract.
    """
    if "contract" not in facts:
        return []
    windows = [one for one in facts.get("windows") or [] if isinstance(one, Mapping)]
    told = [one for one in map(lost_readings.told, windows) if one]
    before = State.read(told[0].get("before") if told else None)
    after = State.read(told[-1].get("after") if told else None)
    opened = State.read(facts["opened"]) if facts.get("opened") is not None else None
    return judge(Contract.read(facts["contract"]), before, windows, after, opened)


def fold(judgement: Judgement, findings: Iterable[Finding], kinds: Collection[str] | None = None) -> Judgement:
    """The judgement with what was found: from outside nothing is concluded, of its own doing the model answers for.

    A row without a verdict keeps having none. What is only told is among the details. ``kinds`` are those that
    matter here; all of them by default.
    """
    counted = [one for one in findings if kinds is None or one.kind in kinds]
    if not counted:
        return judgement
    others = [one.text for one in counted if one.source == "outside"]
    own = [one.text for one in counted if one.source == "own"]
    reason = judgement.reason
    if own:
        reason = f"{reason}; the model's own doing: {'; '.join(own)}"
    update: dict[str, Any] = {"reason": reason}
    if others:
        update["reason"] = f"disturbed from outside: {'; '.join(others)}; otherwise {reason}"
        if judgement.verdict is not Verdict.NOT_RUN:
            update["verdict"] = Verdict.INCONCLUSIVE
    told = [{"kind": one.kind, "source": one.source, "text": one.text} for one in counted]
    return judgement.model_copy(update={**update, "details": {**judgement.details, "state": told}})
