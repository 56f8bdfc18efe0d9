"""Simulated rates with their bars, and the table of them."""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any, Literal

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

Sense = Literal["at most", "at least"]
Claims = dict[str, tuple[int, float, Sense]]
"""For each claim of a block: its number of cells, and its bar."""

TRIALS = 2000
"""Number of trials for each cell of a result."""

CONFIDENCE = 0.99
"""Confidence of each one-sided bound of a rate (Clopper and Pearson 1934).

A cell whose true rate equals its bar misses by chance in at most 1 of 100 tables.
"""


@dataclass(frozen=True)
class Cell:
    """How often something happened in ``trials`` simulated runs with one noise ``model``, and the bar for that rate.

    ``claim`` is the claim to which the cell belongs. ``met`` is None without a bar (another tool's figure). A bar is
    missed only if the rate is significantly beyond it, which means that the interval does not reach the bar.
    """

    claim: str
    name: str
    model: str
    rate: float
    low: float
    high: float
    bar: float | None
    sense: Sense
    met: bool | None
    hits: int
    trials: int

    @property
    def outright(self) -> bool:
        """Whether the rate itself is within the bar, not only its bound."""
        return self.bar is not None and (self.rate <= self.bar if self.sense == "at most" else self.rate >= self.bar)


def cell(  # noqa: PLR0913 - what a cell is, named at each call
    name: str, model: str, hits: int, trials: int, *, bar: float | None, sense: Sense, claim: str = ""
) -> Cell:
    """Return a cell from counts, with its bounds and whether they meet the bar.

    Raise ``ValueError`` for impossible counts.
    """
    if not 0 <= hits <= trials or not trials:
        raise ValueError(f"{name}, {model}: {hits} of {trials} is not a rate")
    low, high = bounds(hits, trials)
    met = None if bar is None else within(low, high, bar, sense)
    return Cell(claim, name, model, hits / trials, low, high, bar, sense, met, int(hits), int(trials))


def within(low: float, high: float, bar: float, sense: Sense) -> bool:
    """Return whether a rate's interval reaches its bar."""
    return low <= bar if sense == "at most" else high >= bar


def bounds(hits: int, trials: int, confidence: float = CONFIDENCE) -> tuple[float, float]:
    """Return Clopper and Pearson's exact bounds of a rate, each one-sided at ``confidence``."""
    from scipy.special import betaincinv

    low = 0.0 if hits == 0 else float(betaincinv(hits, trials - hits + 1, 1 - confidence))
    high = 1.0 if hits == trials else float(betaincinv(hits + 1, trials - hits, confidence))
    return low, high


def text(cells: Sequence[Cell]) -> str:
    """Return the cells as a table of fixed width, in their order."""
    rows = [("what", "noise", "rate", "bounds", "bar", "")]
    rows += [
        (one.name, one.model, percent(one.rate), f"{percent(one.low)} to {percent(one.high)}", _bar(one), _met(one))
        for one in cells
    ]
    return aligned(rows)


def aligned(rows: Sequence[Sequence[str]]) -> str:
    """Return rows of text as columns of fixed width."""
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
    return "\n".join(
        "  ".join(entry.ljust(width) for entry, width in zip(row, widths, strict=True)).rstrip() for row in rows
    )


def last_line(cells: Sequence[Cell]) -> str:
    """Return, as a line, how many cells meet their bar, and how many of these only because their bound reaches it."""
    judged = [one for one in cells if one.met is not None]
    met = [one for one in judged if one.met]
    chance = sum(not one.outright for one in met)
    by_chance = f", {chance} of them beyond it by no more than chance" if chance else ""
    return f"cells within their bar: {len(met)} of {len(judged)}{by_chance} (bar: {len(judged)} of {len(judged)})"


def passed(cells: Sequence[Cell]) -> bool:
    """Return whether there are bars and all are met."""
    judged = [one for one in cells if one.met is not None]
    return bool(judged) and all(one.met for one in judged)


def as_rows(cells: Iterable[Cell]) -> list[dict[str, Any]]:
    """Return the cells as plain rows for a result's file."""
    return [asdict(one) for one in cells]


def percent(rate: float) -> str:
    """Return a rate in percent, with more digits near 0 and near 1."""
    digits = 2 if min(rate, 1 - rate) < 0.1 and not math.isclose(min(rate, 1 - rate), 0.0) else 1
    return f"{100 * rate:.{digits}f} %"


def _bar(one: Cell) -> str:
    return "" if one.bar is None else f"{one.sense} {percent(one.bar)}"


def _met(one: Cell) -> str:
    if one.met is None:
        return ""
    return "MISSED" if not one.met else "met" if one.outright else "met, by its bound"
