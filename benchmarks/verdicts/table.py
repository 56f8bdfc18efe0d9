"""A simulated rate beside its bar, and the table of them."""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any, Literal

if TYPE_CHECKING:
    from collections.abc import Sequence

CONFIDENCE = 0.99
"""Of each bound of a rate, one-sided (Clopper and Pearson 1934): a cell whose true rate is its bar misses by chance in
at most 1 of 100 tables."""


@dataclass(frozen=True)
class Cell:
    """How often something happened in ``trials`` simulated runs of one noise ``model``, beside what is asked of it.

    ``met`` is None where nothing is asked (another tool's figure). A bar is missed only where the rate is
    significantly beyond it: where the bound on the far side does not reach the bar.
    """

    name: str
    model: str
    rate: float
    low: float
    high: float
    bar: float | None
    sense: Literal["at most", "at least"]
    met: bool | None
    hits: int
    trials: int


def cell(  # noqa: PLR0913 - what a cell is, named at each call
    name: str, model: str, hits: int, trials: int, *, bar: float | None, sense: Literal["at most", "at least"]
) -> Cell:
    """A cell from counts, with its bounds and whether they allow the bar. Raises ``ValueError`` if impossible."""
    if not 0 <= hits <= trials or not trials:
        raise ValueError(f"{name}, {model}: {hits} of {trials} is no rate")
    low, high = bounds(hits, trials)
    met = None if bar is None else (low <= bar if sense == "at most" else high >= bar)
    return Cell(name, model, hits / trials, low, high, bar, sense, met, int(hits), int(trials))


def bounds(hits: int, trials: int, confidence: float = CONFIDENCE) -> tuple[float, float]:
    """Clopper and Pearson's exact bounds of a rate, each one-sided at ``confidence``."""
    from scipy.special import betaincinv  # noqa: PLC0415 - only a simulation needs it

    low = 0.0 if hits == 0 else float(betaincinv(hits, trials - hits + 1, 1 - confidence))
    high = 1.0 if hits == trials else float(betaincinv(hits + 1, trials - hits, confidence))
    return low, high


def text(cells: Sequence[Cell]) -> str:
    """The cells as a table of fixed width, in their order."""
    rows = [("what", "noise", "rate", "bounds", "wanted", "")]
    rows += [
        (one.name, one.model, percent(one.rate), f"{percent(one.low)} to {percent(one.high)}", _wanted(one), _met(one))
        for one in cells
    ]
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
    return "\n".join(
        "  ".join(entry.ljust(width) for entry, width in zip(row, widths, strict=True)).rstrip() for row in rows
    )


def last_line(cells: Sequence[Cell]) -> str:
    """How many cells met their bar, of how many: figure and bar."""
    asked = [one for one in cells if one.met is not None]
    met = sum(one.met is True for one in asked)
    return f"cells within their bar: {met} of {len(asked)} (bar: {len(asked)} of {len(asked)})"


def passed(cells: Sequence[Cell]) -> bool:
    """Whether something was asked and all of it was met."""
    asked = [one for one in cells if one.met is not None]
    return bool(asked) and all(one.met for one in asked)


def as_rows(cells: Sequence[Cell]) -> list[dict[str, Any]]:
    """The cells as plain rows, for a result's file."""
    return [asdict(one) for one in cells]


def percent(rate: float) -> str:
    """A rate in percent, with as many digits as say something near 0 and near 1."""
    digits = 2 if min(rate, 1 - rate) < 0.1 and not math.isclose(min(rate, 1 - rate), 0.0) else 1  # noqa: PLR2004 - 10 %
    return f"{100 * rate:.{digits}f} %"


def _wanted(one: Cell) -> str:
    return "" if one.bar is None else f"{one.sense} {percent(one.bar)}"


def _met(one: Cell) -> str:
    return "" if one.met is None else "met" if one.met else "MISSED"
