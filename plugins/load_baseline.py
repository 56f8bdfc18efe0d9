"""Reads the baseline that ``--hil-baseline=REF`` names from the history: once, in the controller, for all workers."""

from __future__ import annotations

from typing import TYPE_CHECKING

from hil.baseline import Baseline, Level, highest_clocks, machine, setting
from hil.catalogue import KINDS, NOISY
from hil.errors import UserError
from hil.results import Verdict

if TYPE_CHECKING:
    from collections.abc import Iterable

    from hil.history import Acceptance, History, Point
    from hil.history.session_noise import SessionNoises
    from hil.plugins.add_to_history import Place


def load(place: Place, ref: str, target: str) -> Baseline:
    """Return the baseline that ``ref`` names, from the usable runs on ``target`` in the history at ``place``.

    If there is no such run or no history, return a baseline without levels; its ``why_not`` has the reason.

    Raise ``UserError`` for an unusable history and ``LabError`` for an unreachable one.
    """
    from hil.history import NoHistory, open_history

    try:
        with open_history(place.url, read_only=True, base=place.base) as history:
            return _read(history, ref, target)
    except NoHistory as error:
        return Baseline(ref=ref, why_not=f"--hil-baseline={ref}: {error}")


def _read(history: History, ref: str, target: str) -> Baseline:
    from hil.history.session_noise import SessionNoises

    try:
        runs = history.resolve(ref, target=target)
    except UserError as error:  # no such run or name: the run continues, and its regression checks are not_run
        return Baseline(ref=ref, why_not=f"--hil-baseline={ref}: {error}")
    usable = [run.id for run in runs if run.usable and run.target == target]
    compared = sorted({kind.regresses for kind in KINDS if kind.regresses})
    points_by_row: dict[tuple[str, str, str, str], list[Point]] = {}
    for point in history.points(usable, checks=compared):
        points_by_row.setdefault((point.check, point.model, point.precision, point.scenario), []).append(point)
    acceptances = history.acceptances()
    noises = SessionNoises(history)
    levels = [_level(history, points, acceptances, noises) for points in points_by_row.values()]
    methods = {digest: history.method(digest) for level in levels for digest in level.methods}
    return Baseline(ref=ref, levels=tuple(levels), methods=methods)


def _level(history: History, points: list[Point], acceptances: Iterable[Acceptance], noises: SessionNoises) -> Level:
    """Return the level of one row: of its baseline ``points``, or of a later point that the user accepted instead."""
    accepted_point, acceptance = _accepted(history, points, acceptances)
    points = [accepted_point] if accepted_point is not None else points
    first = points[0]
    units = {point.unit for point in points}
    environments = [history.environment(point.environment) for point in points]
    machines = [machine(point.run.serial, facts) for point, facts in zip(points, environments, strict=True)]
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
        noise=noises.of(points) if first.check in NOISY else None,
        controls=tuple(point.control for point in points),
        settings=tuple(sorted(set(map(setting, environments)))),
        clocks=tuple(map(highest_clocks, environments)),
        accepted=None if acceptance is None else f"by {acceptance.who} on {acceptance.when:%Y-%m-%d}: {acceptance.why}",
    )


def _accepted(
    history: History, points: list[Point], acceptances: Iterable[Acceptance]
) -> tuple[Point | None, Acceptance | None]:
    """Return the point that was accepted last for the row, target and board of ``points``, and its acceptance.

    Only acceptances after the newest of ``points`` count. If there is none, return ``(None, None)``.
    """
    first = points[0]
    newest = max(point.run.started for point in points)
    row = (first.check, first.model, first.precision, first.scenario, first.unit)
    place = (first.run.target, first.run.serial)
    matching = [
        entry
        for entry in acceptances
        if (entry.check, entry.model, entry.precision, entry.scenario, entry.unit) == row
        and (entry.target, entry.serial) == place
        and entry.when > newest
    ]
    for entry in sorted(matching, key=lambda entry: entry.when, reverse=True):
        measured = history.points([entry.run], model=entry.model, precision=entry.precision, checks=[entry.check])
        usable = [point for point in measured if point.scenario == entry.scenario and point.run.usable]
        if usable:
            return usable[0], entry
    return None, None
