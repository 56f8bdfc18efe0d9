"""Make the records of a run's boards for its report, and notice boards that must not be in one pool."""

from __future__ import annotations

from itertools import combinations
from typing import TYPE_CHECKING, Any

from hil.errors import HilError, LabError
from hil.history import open_history
from hil.jetson import identity_fields
from hil.plugins import add_to_history
from hil.report.schema import BoardUsed
from hil.stats.control_difference import CONTROL

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from hil.plugins.run_state import RunState
    from hil.report.schema import Report
    from hil.session.outcome import Outcome


def boards_of(outcomes: Iterable[Outcome], lost: Mapping[str, str]) -> dict[str, BoardUsed]:
    """Return by name the record of each board that judged a row or was lost; empty for a target that is one machine.

    ``lost`` maps the name of each lost board to the reason.
    """
    boards = {name: BoardUsed(lost=reason) for name, reason in lost.items()}
    for outcome in outcomes:
        name, target = outcome.result.board, outcome.target
        if not name or (name in boards and boards[name].facts):
            continue
        facts = dict(target.get("facts", {}))
        identity = identity_fields(facts.get("board")) or {}
        boards[name] = BoardUsed(
            serial=identity.get("serial"),
            module=identity.get("module"),
            board=target.get("board"),
            facts=facts,
            lost=lost.get(name),
        )
    return boards


def unlike_boards(target: str, outcomes: Iterable[Outcome]) -> LabError | None:
    """Return an error if two boards of a run have one serial number or are of different kinds; otherwise ``None``."""
    boards = boards_of(outcomes, {})
    for (one, first), (other, second) in combinations(boards.items(), 2):
        where = f"on target {target!r}"
        if first.serial is not None and first.serial == second.serial:
            what = f"{one} and {other} are the same board (serial {first.serial})"
            return LabError(f"{what}: {where}: remove one of them")
        for (what, here), (_, there) in zip(_nature(first), _nature(second), strict=True):
            if here != there:
                unlike = f"{one} and {other} differ in their {what} ({here}; {there})"
                return LabError(f"{unlike}: {where}: use boards of one kind in a pool")
    return None


def _nature(board: BoardUsed) -> list[tuple[str, Any]]:
    """Return the facts of ``board`` that must be equal for all boards of a pool, each as (name, value)."""
    by_runtime = board.facts.get("facts")
    gpus = {name: facts.get("gpu") for name, facts in by_runtime.items()} if isinstance(by_runtime, dict) else {}
    machine = [(name, board.facts.get(key)) for name, key in (("architecture", "machine"), ("CPU", "cpu_model"))]
    return [("module", board.module), ("GPU", gpus), *machine]


def with_calibration(run: RunState, report: Report) -> Report:
    """Return the report with ``target.boards_differ`` from the history's calibrations of all boards of the report.

    Return the report unchanged if it has fewer than two boards, if a board has no serial number, or if there is no
    usable history.
    """
    serials = {board.serial or "" for board in report.target.boards.values() if board.facts}
    location = add_to_history.place(run)
    if len(serials) < 2 or "" in serials or location is None:
        return report
    measured = [row.measurement.control for row in report.checks if row.measurement is not None]
    differ: dict[str, float] = {}
    try:
        with open_history(location.url, read_only=True, base=location.base) as history:
            for workload in {control.workload for control in measured if control is not None}:
                entry = history.between_boards(serials, CONTROL, workload, "")
                if entry is not None:
                    differ[workload] = entry.sd
    except HilError:  # an unusable history is reported where the run is added to it
        return report
    return report.model_copy(update={"target": report.target.model_copy(update={"boards_differ": differ})})
