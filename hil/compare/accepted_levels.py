"""Apply accepted levels: a worse row is not a regression if it is not worse than a level that somebody accepted.

An accepted level applies only to its row, target and machine, and only until a newer base is measured.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from hil.compare.schema import Accepted, Row, Status
from hil.units import show

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from hil.compare.sides import Pair
    from hil.history import Acceptance, Point, RunRecord


@dataclass(frozen=True)
class Level:
    """An accepted level: the act of acceptance, the accepted point, and the machine on which that was measured.

    ``point`` is ``None`` if the history does not have it. ``machine`` is the name that ``hil.baseline.machine``
    returns; empty if the machine is unknown.
    """

    act: Acceptance
    point: Point | None
    machine: str = ""


def applicable_level(pair: Pair, levels: Sequence[Level], machines: Mapping[str, str]) -> Level | None:
    """Return the latest of ``levels`` that was accepted for this row on the candidate's target and machine.

    The unit must also be equal. Return ``None`` if there is no such level, or if the latest is older than the newest
    run of the base. ``machines`` has the names of the machines of the candidate's runs, by run id.
    """
    if not pair.base or not pair.cand:
        return None
    newest = max(point.run.started for point in pair.base)
    applicable = [
        level
        for level in levels
        if (level.act.check, level.act.model, level.act.precision, level.act.scenario) == pair.key
        and level.act.unit == pair.unit
        and level.act.when > newest
        and all(_same_machine(level, point.run, machines) for point in pair.cand)
    ]
    return max(applicable, key=lambda level: level.act.when, default=None)


def _same_machine(accepted: Level, run: RunRecord, machines: Mapping[str, str]) -> bool:
    """Return whether the level was accepted on the target and machine of ``run``.

    Equal serial numbers identify the machine. Without a serial number, an unknown machine never matches.
    """
    if accepted.act.target != run.target or accepted.act.serial != run.serial:
        return False
    return bool(run.serial) or accepted.machine == machines.get(run.id) != ""


def with_acceptance(
    row: Row, pair: Pair, levels: Sequence[Level], machines: Mapping[str, str], against: Callable[[Point], Status]
) -> Row:
    """Return ``row``; if its status is worse, with the accepted level that applies to it.

    The status becomes ``accepted`` if the candidate is the accepted run or is not worse than that level. ``against``
    judges the candidate against the accepted point in place of the base.
    """
    applicable = applicable_level(pair, levels, machines)
    if applicable is None or row.status is not Status.WORSE:
        return row
    act = applicable.act
    when = act.when.isoformat(timespec="seconds")
    accepted = Accepted(value=act.value, unit=act.unit, who=act.who, why=act.why, when=when, run=act.run)
    row = row.model_copy(update={"accepted": accepted})
    level = f"{show(act.value, act.unit)} was accepted by {act.who} on {act.when:%Y-%m-%d}: {act.why}"
    if all(point.run.id == act.run for point in pair.cand):
        return row.model_copy(update={"status": Status.ACCEPTED, "reason": f"{row.reason}; {level}"})
    if applicable.point is not None and against(applicable.point) in {Status.SAME, Status.BETTER}:
        return row.model_copy(update={"status": Status.ACCEPTED, "reason": f"{row.reason}; {level}"})
    reason = f"{row.reason}; the candidate may be worse than the accepted level ({level})"
    return row.model_copy(update={"reason": reason})
