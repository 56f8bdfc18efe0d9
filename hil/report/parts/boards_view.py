"""Show which of several boards judged each model, and name a board that is slower or faster than its siblings."""

from __future__ import annotations

import math
import statistics
from typing import TYPE_CHECKING, NamedTuple

from hil.units import show

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping

    from hil.report.schema import Report

LEAST = 0.05
"""Without a calibration, smaller relative differences are not reported: sessions of one board may differ as much."""

TIMES = 3.0
"""Without a calibration, a board is named if its distance from the nearest sibling is more than this many times the
largest distance between two siblings."""

FEWEST = 3
"""With fewer boards, nobody can tell which one is at fault."""

ADVICE = "compare their clocks and temperatures (hil doctor)"


class BoardLine(NamedTuple):
    """One board of a run as text.

    ``what`` has its module and serial number, ``models`` the models that it judged, ``control`` the median time of each
    workload of the control, and ``lost`` why the board was lost. A field is empty if its content is unknown.
    """

    name: str
    what: str
    models: str
    control: str
    lost: str


def board_of(report: Report) -> dict[tuple[str, str], str]:
    """Return the board of each (model, precision); an empty dictionary unless several boards judged rows."""
    boards = {(row.model, row.precision): row.board for row in report.checks if row.board}
    return boards if len(set(boards.values())) > 1 else {}


def board_lines(report: Report) -> list[BoardLine]:
    """Return one line for each board that judged a row or was lost, in the order of the report."""
    lines = []
    for name, board in report.target.boards.items():
        models = dict.fromkeys(row.model for row in report.checks if row.board == name and row.model)
        what = ", ".join(filter(None, (board.module, board.serial and f"serial {board.serial}")))
        times = [statistics.median(by[name]) for by in _times(report).values() if name in by]
        lines.append(BoardLine(name, what, ", ".join(models), ", ".join(show(t, "s") for t in times), board.lost or ""))
    return lines


def unlike_lines(report: Report) -> list[str]:
    """Return one line of text for each board whose control differs from that of its siblings.

    If the controls differ but no board stands out, one line compares the slowest board with the fastest. The list is
    empty if the controls agree.
    """
    lines: list[str] = []
    for workload, times in _times(report).items():
        middles = {name: statistics.median(map(math.log, values)) for name, values in times.items()}
        within = max(_range([*map(math.log, values)]) for values in times.values())
        known = report.target.boards_differ.get(workload)
        least = max(
            math.log1p(LEAST if known is None else known), within
        )  # a board that changes during the run says nothing about its siblings
        if _range(middles.values()) <= least:
            continue
        beyond = "" if known is None else f" (at most {known:.1%} when they were calibrated)"
        is_odd = _is_odd if known is None else _is_beyond
        odd = [name for name in middles if is_odd(name, middles, least)] if len(middles) >= FEWEST else []
        lines += [_line(name, middles, beyond) for name in odd]
        if not odd:
            slowest, fastest = max(middles, key=middles.__getitem__), min(middles, key=middles.__getitem__)
            more = math.expm1(_range(middles.values()))
            lines.append(f"board {slowest} takes {more:.0%} longer than {fastest} for the same work{beyond}: {ADVICE}")
    return lines


def _is_odd(name: str, middles: Mapping[str, float], least: float) -> bool:
    siblings = {other: middle for other, middle in middles.items() if other != name}
    gap = min(abs(middles[name] - middle) for middle in siblings.values())
    return gap > max(least, TIMES * _range(siblings.values()))


def _is_beyond(name: str, middles: Mapping[str, float], least: float) -> bool:
    """Return whether a board is more than ``least`` from each sibling, and the siblings are at most ``least`` apart."""
    siblings = [middle for other, middle in middles.items() if other != name]
    return min(abs(middles[name] - middle) for middle in siblings) > least >= _range(siblings)


def _line(name: str, middles: Mapping[str, float], beyond: str) -> str:
    siblings = {other: middle for other, middle in middles.items() if other != name}
    ratio = math.exp(middles[name] - statistics.median(siblings.values()))
    how = f"{ratio - 1:.0%} longer" if ratio > 1 else f"{1 - ratio:.0%} less time"
    apart = f"which differ by {math.expm1(_range(siblings.values())):.1%}"
    others = ", ".join(siblings)
    return f"board {name} takes {how} than its siblings {others}, {apart}, for the same work{beyond}: {ADVICE}"


def _range(values: Collection[float]) -> float:
    return max(values) - min(values)


def _times(report: Report) -> dict[str, dict[str, list[float]]]:
    """Return the medians of the control in seconds, by its workload and by board."""
    times: dict[str, dict[str, list[float]]] = {}
    for row in report.checks:
        control = None if row.measurement is None else row.measurement.control
        if control is not None and row.board:
            times.setdefault(control.workload, {}).setdefault(row.board, []).append(control.median)
    return times
