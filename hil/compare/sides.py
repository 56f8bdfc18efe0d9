"""The two sides of a comparison, and their points in pairs: one that has no partner is listed, never dropped."""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import cached_property
from typing import TYPE_CHECKING, Any

from hil.baseline import machine
from hil.compare.machines import machine_name
from hil.compare.schema import SideUsed
from hil.errors import UserError

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from hil.history import Point, RunRecord

Key = tuple[str, str, str, str]
Facts = dict[str, Any]


@dataclass(frozen=True)
class Side:
    """Points of one or more runs under one name; ``methods``, ``environments``: the facts behind their digests."""

    name: str
    points: tuple[Point, ...]
    methods: Mapping[str, Facts] = field(default_factory=dict)
    environments: Mapping[str, Facts] = field(default_factory=dict)

    @cached_property
    def runs(self) -> tuple[RunRecord, ...]:
        """The runs that the points are of, newest first."""
        found = {point.run.id: point.run for point in self.points}
        return tuple(sorted(found.values(), key=lambda run: run.started, reverse=True))

    @cached_property
    def machines(self) -> tuple[str, ...]:
        """The machines that the runs were on, each once.

        A run is told by those of its points that have an environment: an engine's size has none of its own.
        """
        return tuple(sorted({machine_name(run, facts) for run in self.runs for facts in self.facts_of(run.id) or [{}]}))

    def facts_of(self, run: str) -> list[Facts]:
        """The environments of the points of ``run`` that have one."""
        digests = dict.fromkeys(point.environment for point in self.points if point.run.id == run)
        return [self.environments[digest] for digest in digests if digest in self.environments]

    @property
    def used(self) -> SideUsed:
        """This side as a comparison tells it."""
        runs = self.runs
        first, last = (f"{run.started:%Y-%m-%d %H:%M}" for run in (runs[-1], runs[0]))
        ids = tuple(run.id for run in runs)
        return SideUsed(name=self.name, runs=ids, first=first, last=last, machines=self.machines)


def machine_of(serial: str | None, environments: Iterable[Facts]) -> str:
    """The machine of one run by all its ``environments``; empty where it is not known, or they do not agree."""
    named = {machine(serial, facts) for facts in environments}
    return named.pop() if len(named) == 1 else ""


@dataclass(frozen=True)
class Pair:
    """All points of one row: of the base and of the candidate, a point a run."""

    key: Key
    base: tuple[Point, ...]
    cand: tuple[Point, ...]

    @property
    def unit(self) -> str:
        """The unit of the row."""
        return (*self.base, *self.cand)[0].unit


def key_of(point: Point) -> Key:
    """Check, model, precision, scenario."""
    return (point.check, point.model, point.precision, point.scenario)


def pairs(base: Side, cand: Side) -> tuple[Pair, ...]:
    """The rows of either side, in the order in which they are met. Raises ``UserError`` for a run on both sides."""
    both = sorted({run.id for run in base.runs} & {run.id for run in cand.runs})
    if both:
        raise UserError(f"run {both[0]} stands on both sides ({base.name}, {cand.name}): compare two different runs")
    ours, theirs = _by_key(base.points), _by_key(cand.points)
    return tuple(
        Pair(key, tuple(ours.get(key, ())), tuple(theirs.get(key, ()))) for key in dict.fromkeys((*ours, *theirs))
    )


def _by_key(points: Iterable[Point]) -> dict[Key, list[Point]]:
    found: dict[Key, list[Point]] = {}
    for point in points:
        found.setdefault(key_of(point), []).append(point)
    return found


def sessions(points: Sequence[Point]) -> list[list[float]]:
    """Run values by session: a run of pytest is a session; without fresh processes its one value is all it has."""
    return [list(point.runs) or [point.value] for point in points]
