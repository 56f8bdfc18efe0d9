"""Define the two sides of a comparison, and pair their points by row."""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import cached_property
from typing import TYPE_CHECKING, Any

from hil.baseline import machine
from hil.compare.schema import SideUsed
from hil.errors import UserError

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from hil.history import Point, RunRecord

UNKNOWN_MACHINE = "machine unknown"
Key = tuple[str, str, str, str]
Facts = dict[str, Any]


@dataclass(frozen=True)
class Side:
    """The points of one or more runs; a point is one value of one row in one run.

    ``methods`` and ``environments`` have those of the points, by digest.
    """

    name: str
    points: tuple[Point, ...]
    methods: Mapping[str, Facts] = field(default_factory=dict)
    environments: Mapping[str, Facts] = field(default_factory=dict)

    @cached_property
    def runs(self) -> tuple[RunRecord, ...]:
        """The runs that measured the points, newest first."""
        by_id = {point.run.id: point.run for point in self.points}
        return tuple(sorted(by_id.values(), key=lambda run: run.started, reverse=True))

    @cached_property
    def machines(self) -> tuple[str, ...]:
        """The names of the runs' machines, sorted, without duplicates."""
        return tuple(sorted({machine_name(run, facts) for run in self.runs for facts in self.facts_of(run.id) or [{}]}))

    def facts_of(self, run: str) -> list[Facts]:
        """Return the environments in which the run with this id measured its points, without duplicates."""
        digests = dict.fromkeys(point.environment for point in self.points if point.run.id == run)
        return [self.environments[digest] for digest in digests if digest in self.environments]

    @property
    def used(self) -> SideUsed:
        """The entry of this side in the document of a comparison."""
        runs = self.runs
        first, last = (f"{run.started:%Y-%m-%d %H:%M}" for run in (runs[-1], runs[0]))
        ids = tuple(run.id for run in runs)
        return SideUsed(name=self.name, runs=ids, first=first, last=last, machines=self.machines)


def machine_name(run: RunRecord, environment: Mapping[str, Any]) -> str:
    """Return the name of the run's machine: a board's serial number, or the target with host name, GPU and CPU."""
    known = machine(run.serial, environment)
    return known if run.serial else f"{run.used} ({known or UNKNOWN_MACHINE})"


def machine_of(serial: str | None, environments: Iterable[Facts]) -> str:
    """Return the name of the machine of one run; empty if its ``environments`` give no name or different names."""
    names = {machine(serial, facts) for facts in environments}
    return names.pop() if len(names) == 1 else ""


@dataclass(frozen=True)
class Pair:
    """All points of one row, on the base and on the candidate side, one point per run.

    A side that does not have the row is empty; at least one side has it.
    """

    key: Key
    base: tuple[Point, ...]
    cand: tuple[Point, ...]

    @property
    def unit(self) -> str:
        """The unit of the row."""
        return (*self.base, *self.cand)[0].unit


def key_of(point: Point) -> Key:
    """Return check, model, precision and scenario of ``point``."""
    return (point.check, point.model, point.precision, point.scenario)


def pairs(base: Side, cand: Side) -> tuple[Pair, ...]:
    """Return a pair for every row of either side.

    A side that lacks the row is empty in the pair.

    Raises ``UserError`` if both sides have the same run.
    """
    both = sorted({run.id for run in base.runs} & {run.id for run in cand.runs})
    if both:
        raise UserError(f"run {both[0]} is on both sides ({base.name}, {cand.name}): compare two different runs")
    ours, theirs = _by_key(base.points), _by_key(cand.points)
    return tuple(
        Pair(key, tuple(ours.get(key, ())), tuple(theirs.get(key, ()))) for key in dict.fromkeys((*ours, *theirs))
    )


def _by_key(points: Iterable[Point]) -> dict[Key, list[Point]]:
    by_key: dict[Key, list[Point]] = {}
    for point in points:
        by_key.setdefault(key_of(point), []).append(point)
    return by_key


def sessions(points: Sequence[Point]) -> list[list[float]]:
    """Return the values of each session; a session is one run of pytest.

    A session has one value for each fresh process (``--hil-runs``), or a single value if there were none.
    """
    return [list(point.runs) or [point.value] for point in points]
