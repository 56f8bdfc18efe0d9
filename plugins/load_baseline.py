"""``--hil-baseline=REF``: out of the history once, by the controller, and as plain data to every process of the run."""

from __future__ import annotations

from typing import TYPE_CHECKING

from hil.baseline import Baseline, Level, machine
from hil.catalogue import KINDS, NOISY
from hil.errors import UserError
from hil.results import Verdict

if TYPE_CHECKING:
    from collections.abc import Iterable

    from hil.history import Acceptance, History, Point
    from hil.plugins.add_to_history import Place

RUNS = 5
"""How often each engine is timed in a fresh process where there is a baseline and nobody says how often."""


def load(place: Place, ref: str, target: str) -> Baseline:
    """What ``ref`` stands for on ``target``; with ``why_not`` where it stands for nothing.

    Raises ``UserError`` for a history that cannot be used and ``LabError`` for one that cannot be reached.
    """
    from hil.history import NoHistory, open_history

    try:
        with open_history(place.url, read_only=True, base=place.base) as history:
            return _read(history, ref, target)
    except NoHistory as error:
        return Baseline(ref=ref, why_not=f"--hil-baseline={ref}: {error}")


def _read(history: History, ref: str, target: str) -> Baseline:
    try:
        runs = history.resolve(ref, target=target)
    except UserError as error:  # nothing of that name: the run goes on, and its regressions are not_run
        return Baseline(ref=ref, why_not=f"--hil-baseline={ref}: {error}")
    usable = [run.id for run in runs if run.usable and run.target == target]
    wanted = sorted({kind.regresses for kind in KINDS if kind.regresses})
    found: dict[tuple[str, str, str, str], list[Point]] = {}
    for point in history.points(usable, checks=wanted):
        found.setdefault((point.check, point.model, point.precision, point.scenario), []).append(point)
    acts = history.acceptances()
    levels = [_level(history, points, acts) for points in found.values()]
    methods = {digest: history.method(digest) for level in levels for digest in level.methods}
    return Baseline(ref=ref, levels=tuple(levels), methods=methods)


def _level(history: History, points: list[Point], acts: Iterable[Acceptance]) -> Level:
    """The values of one row; an accepted level stands in for them where somebody accepted it since."""
    accepted, act = _accepted(history, points, acts)
    points = [accepted] if accepted is not None else points
    first = points[0]
    units = {point.unit for point in points}
    known = [history.environment(point.environment) for point in points]
    machines = [machine(point.run.serial, environment) for point, environment in zip(points, known, strict=True)]
    noise = None
    if first.check in NOISY:
        learned = history.noise(first.run.serial or machines[0], first.check, first.model, first.precision)
        noise = None if learned is None else learned.sd
    return Level(
        check=first.check,
        model=first.model,
        precision=first.precision,
        scenario=first.scenario,
        unit=first.unit if len(units) == 1 else " and ".join(sorted(units)),
        sessions=tuple(point.runs or (point.value,) for point in points),
        runs=tuple(point.run.id for point in points),
        newest=max(point.run.started for point in points).isoformat(timespec="seconds"),
        methods=tuple(sorted({point.method for point in points})),
        machines=tuple(sorted(set(machines))),
        doubtful=tuple(point.run.id for point in points if point.verdict == Verdict.INCONCLUSIVE.value),
        noise=noise,
        accepted=None if act is None else f"by {act.who} on {act.when:%Y-%m-%d}: {act.why}",
    )


def _accepted(
    history: History, points: list[Point], acts: Iterable[Acceptance]
) -> tuple[Point | None, Acceptance | None]:
    """The point of the latest acceptance of this row on this target and board since the baseline, and the act."""
    first = points[0]
    newest = max(point.run.started for point in points)
    row = (first.check, first.model, first.precision, first.scenario, first.unit)
    place = (first.run.target, first.run.serial)
    fitting = [
        act
        for act in acts
        if (act.check, act.model, act.precision, act.scenario, act.unit) == row
        and (act.target, act.serial) == place
        and act.when > newest
    ]
    for act in sorted(fitting, key=lambda act: act.when, reverse=True):
        there = history.points([act.run], model=act.model, precision=act.precision, checks=[act.check])
        at = [point for point in there if point.scenario == act.scenario and point.run.usable]
        if at:
            return at[0], act
    return None, None
