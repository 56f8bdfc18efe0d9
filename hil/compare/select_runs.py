"""What a reference on the command line stands for: a report's file, or runs of the history."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from hil.baseline import machine
from hil.compare.accepted_levels import Level
from hil.compare.comparing import Learned
from hil.compare.sides import Side, machine_of
from hil.errors import UserError
from hil.history.derive import derive
from hil.report.read_report import read

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from hil.compare.sides import Facts
    from hil.history import Acceptance, Noise, Point
    from hil.history.store import History


def is_path(ref: str) -> bool:
    """Whether ``ref`` names a file or folder, and not runs of a history."""
    return ref.endswith(".json") or "/" in ref or Path(ref).exists()


def side_of_reports(ref: str, model: str | None = None) -> Side:
    """The report in ``ref``: a file, its folder, or a folder of such folders. Raises ``UserError``."""
    path = Path(ref)
    files = [path]
    if path.is_dir() and not (path / "report.json").exists():
        files = sorted(path.glob("*/report.json")) or [path]
    kept = [derive(read(each)) for each in files]
    ids = [each.run.id for each in kept]
    twice = next((one for one in ids if ids.count(one) > 1), None)
    if twice is not None:
        raise UserError(f"{ref}: run {twice} is in there twice: keep one report of it")
    points = tuple(point for each in kept for point in each.points if model in {None, point.model})
    _there(ref, model, {point.model for each in kept for point in each.points})
    facts = {digest: table for each in kept for digest, table in each.facts.items()}
    return Side(ref, points, facts, _environments(points, facts))


def side_of_history(history: History, ref: str, model: str | None = None, target: str | None = None) -> Side:
    """The runs that ``ref`` names in ``history``. Raises ``UserError``."""
    runs = history.resolve(ref, model=model, target=target)
    points = tuple(history.points([run.id for run in runs], model=model))
    methods, environments = facts_of(history, points)
    return Side(ref, points, methods, environments)


def facts_of(history: History, points: Iterable[Point]) -> tuple[dict[str, Facts], dict[str, Facts]]:
    """The methods and the environments of ``points``, by digest."""
    points = list(points)
    methods = {digest: history.method(digest) for digest in {point.method for point in points} if digest}
    environments = {digest: history.environment(digest) for digest in {point.environment for point in points} if digest}
    return methods, environments


def learned_of(history: History, model: str | None = None) -> Learned:
    """What people and calibrations added to ``history``."""
    return Learned(lambda point: _noise(history, point), _levels(history, history.acceptances(model=model)))


def _noise(history: History, point: Point) -> Noise | None:
    at = point.run.serial or machine(None, history.environment(point.environment))
    return history.noise(at, point.check, point.model, point.precision) if at else None


def _levels(history: History, acceptances: Sequence[Acceptance]) -> tuple[Level, ...]:
    return tuple(Level(each, _point(history, each), _machine(history, each)) for each in acceptances)


def _machine(history: History, act: Acceptance) -> str:
    digests = {point.environment for point in history.points([act.run])} - {""}
    return machine_of(act.serial, [history.environment(digest) for digest in digests])


def _point(history: History, act: Acceptance) -> Point | None:
    found = history.points([act.run], model=act.model, precision=act.precision, checks=[act.check])
    return next((point for point in found if point.scenario == act.scenario), None)


def _environments(points: Iterable[Point], facts: dict[str, Facts]) -> dict[str, Facts]:
    return {digest: facts[digest] for digest in {point.environment for point in points} if digest in facts}


def _there(ref: str, model: str | None, models: set[str]) -> None:
    if model is not None and model not in models:
        raise UserError(
            f"{ref}: nothing was measured of model {model!r}: there is {', '.join(sorted(models)) or 'none'}"
        )
