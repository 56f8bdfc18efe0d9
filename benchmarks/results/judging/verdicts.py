"""The bars of simulated verdicts: each claim is judged by its worst cell."""

from __future__ import annotations

from typing import TYPE_CHECKING

from benchmarks.results.judging.bars import bar
from benchmarks.verdicts import comparison
from benchmarks.verdicts.table import TRIALS, bounds, within

if TYPE_CHECKING:
    from collections.abc import Sequence

    from benchmarks.results.judging.bars import Bar, Row
    from benchmarks.verdicts.table import Claims, Sense


def judge(claims: Claims, rows: Sequence[Row]) -> list[Bar]:
    """Return a bar for each claim from its worst cell; the bar is missed if the cell's bound does not reach it."""
    return [
        _worst(name, cells, limit, sense, [row for row in rows if row["claim"] == name])
        for name, (cells, limit, sense) in claims.items()
    ]


def _worst(name: str, cells: int, limit: float, sense: Sense, mine: Sequence[Row]) -> Bar:
    name, at_least = f"{name}: the worst of {cells} cells", sense == "at least"
    if not _all_cells(cells, mine):
        return bar(name, None, limit, at_least=at_least)
    worst = (min if at_least else max)(mine, key=lambda row: float(row["hits"] / row["trials"]))
    low, high = bounds(worst["hits"], worst["trials"])
    worst_bar = bar(name, worst["hits"] / worst["trials"], limit, at_least=at_least, low=low, high=high)
    return {**worst_bar, "met": within(low, high, limit, sense)}


def _all_cells(cells: int, mine: Sequence[Row]) -> bool:
    return len({(row["name"], row["model"]) for row in mine}) == len(mine) == cells and all(
        row["trials"] >= TRIALS for row in mine
    )


def compared(rows: Sequence[Row]) -> list[Bar]:
    """Return the bars of comparisons, and one for measured powers more than three points from the predicted ones."""
    mine = [row for row in rows if row["claim"] == comparison.PROMISE_CLAIM]
    beyond = [(row["rate"] - row["bar"]) * (1 if row["sense"] == "at most" else -1) for row in mine]
    name = f"{comparison.PROMISE_CLAIM}: how far beyond, the worst of {comparison.PROMISES} cells"
    figure = max(beyond) if _all_cells(comparison.PROMISES, mine) else None
    return [*judge(comparison.CLAIMS, rows), bar(name, figure, 0.0)]
