"""A level that somebody accepted is no regression, for that row on that target alone, and only until it gets worse."""

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
    """An acceptance with the point that it accepted, ``None`` where the history no longer has it, and its machine.

    ``machine`` is as ``hil.baseline.machine`` names it: empty where it is not known.
    """

    act: Acceptance
    point: Point | None
    machine: str = ""


def applying(pair: Pair, levels: Sequence[Level], machines: Mapping[str, str]) -> Level | None:
    """The latest acceptance of this very row on the candidate's target and machine, given after the base was measured.

    ``machines`` are the candidate's by the ids of its runs.

    A base measured after the acceptance stands for a level that was reached since: what was accepted before no
    longer excuses anything.
    """
    if not pair.base or not pair.cand:
        return None
    newest = max(point.run.started for point in pair.base)
    found = [
        each
        for each in levels
        if (each.act.check, each.act.model, each.act.precision, each.act.scenario) == pair.key
        and each.act.unit == pair.unit
        and each.act.when > newest
        and all(_same_place(each, point.run, machines) for point in pair.cand)
    ]
    return max(found, key=lambda each: each.act.when, default=None)


def _same_place(accepted: Level, run: RunRecord, machines: Mapping[str, str]) -> bool:
    """Whether it was accepted on the target and the machine of ``run``; a machine that is not known is no other's."""
    if accepted.act.target != run.target or accepted.act.serial != run.serial:
        return False
    return bool(run.serial) or accepted.machine == machines.get(run.id) != ""


def held_against(
    row: Row, pair: Pair, levels: Sequence[Level], machines: Mapping[str, str], against: Callable[[Point], Status]
) -> Row:
    """``row``, accepted if it got worse to a level that is on record as accepted; the record is told in any case.

    ``against`` judges the candidate against the accepted point. A candidate that is not settled to be at that level
    stays worse: an acceptance never covers what may be worse still.
    """
    found = applying(pair, levels, machines)
    if found is None or row.status is not Status.WORSE:
        return row
    act = found.act
    when = act.when.isoformat(timespec="seconds")
    told = Accepted(value=act.value, unit=act.unit, who=act.who, why=act.why, when=when, run=act.run)
    row = row.model_copy(update={"accepted": told})
    level = f"{show(act.value, act.unit)} was accepted by {act.who} on {act.when:%Y-%m-%d}: {act.why}"
    if all(point.run.id == act.run for point in pair.cand):
        return row.model_copy(update={"status": Status.ACCEPTED, "reason": f"{row.reason}; {level}"})
    if found.point is not None and against(found.point) in {Status.SAME, Status.BETTER}:
        return row.model_copy(update={"status": Status.ACCEPTED, "reason": f"{row.reason}; {level}"})
    return row.model_copy(update={"reason": f"{row.reason}; not settled to be within what was accepted ({level})"})
