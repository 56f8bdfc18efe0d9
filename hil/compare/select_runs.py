"""Turn a reference of the command line into a side: the reports in a file or folder, or runs of the history."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from hil.compare.accepted_levels import Level
from hil.compare.calibrated_boards import Spread
from hil.compare.comparing import HistoryFacts
from hil.compare.sides import Side, machine_of
from hil.errors import UserError
from hil.history.derive import derive
from hil.history.session_noise import SessionNoises
from hil.report.read_report import read

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from hil.compare.sides import Facts
    from hil.history import Acceptance, Point
    from hil.history.store import History


def is_path(ref: str) -> bool:
    """Return true if ``ref`` ends in ``.json``, has a slash or exists: a path. Otherwise it names runs of a history."""
    return ref.endswith(".json") or "/" in ref or Path(ref).exists()


def side_of_reports(ref: str, model: str | None = None) -> Side:
    """Return the side of the reports in ``ref``: a file, its folder, or a folder of such folders.

    Raises ``UserError`` for an unreadable report, the same run twice, and a ``model`` that was not measured.
    """
    path = Path(ref)
    files = [path]
    if path.is_dir() and not (path / "report.json").exists():
        files = sorted(path.glob("*/report.json")) or [path]
    reports = [derive(read(file)) for file in files]
    ids = [report.run.id for report in reports]
    duplicate = next((run_id for run_id in ids if ids.count(run_id) > 1), None)
    if duplicate is not None:
        raise UserError(f"{ref}: it contains run {duplicate} twice: remove one of the two reports")
    points = tuple(point for report in reports for point in report.points if model in {None, point.model})
    _refuse_unknown_model(ref, model, {point.model for report in reports for point in report.points})
    facts = {digest: table for report in reports for digest, table in report.facts.items()}
    return Side(ref, points, facts, _environments(points, facts))


def side_of_history(history: History, ref: str, model: str | None = None, target: str | None = None) -> Side:
    """Return the side of the runs that ``ref`` names in ``history``, limited to ``model`` and ``target`` if given.

    Raises the errors of ``History.resolve``.
    """
    runs = history.resolve(ref, model=model, target=target)
    points = tuple(history.points([run.id for run in runs], model=model))
    methods, environments = facts_of(history, points)
    return Side(ref, points, methods, environments)


def facts_of(history: History, points: Iterable[Point]) -> tuple[dict[str, Facts], dict[str, Facts]]:
    """Return the methods and the environments of ``points``, by digest."""
    points = list(points)
    methods = {digest: history.method(digest) for digest in {point.method for point in points} if digest}
    environments = {digest: history.environment(digest) for digest in {point.environment for point in points} if digest}
    return methods, environments


def history_facts_of(history: History, model: str | None = None) -> HistoryFacts:
    """Return the noise between sessions, and the accepted levels of ``model`` (of all models if ``None``)."""
    noises = SessionNoises(history)

    def between(serials: Iterable[str], check: str, model: str, precision: str) -> Spread | None:
        entry = history.between_boards(serials, check, model, precision)
        return None if entry is None else Spread(entry.sd, f"{entry.when:%Y-%m-%d}")

    levels = _levels(history, history.acceptances(model=model))
    return HistoryFacts(lambda pair: noises.of((*pair.cand, *pair.base)), levels, between)


def _levels(history: History, acceptances: Sequence[Acceptance]) -> tuple[Level, ...]:
    return tuple(Level(each, _point(history, each), _machine(history, each)) for each in acceptances)


def _machine(history: History, act: Acceptance) -> str:
    digests = {point.environment for point in history.points([act.run])} - {""}
    return machine_of(act.serial, [history.environment(digest) for digest in digests])


def _point(history: History, act: Acceptance) -> Point | None:
    points = history.points([act.run], model=act.model, precision=act.precision, checks=[act.check])
    return next((point for point in points if point.scenario == act.scenario), None)


def _environments(points: Iterable[Point], facts: dict[str, Facts]) -> dict[str, Facts]:
    return {digest: facts[digest] for digest in {point.environment for point in points} if digest in facts}


def _refuse_unknown_model(ref: str, model: str | None, models: set[str]) -> None:
    if model is not None and model not in models:
        measured = ", ".join(sorted(models)) or "none"
        raise UserError(f"{ref}: model {model!r} was not measured: the measured models are: {measured}")
