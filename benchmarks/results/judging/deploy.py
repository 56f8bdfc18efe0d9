"""The bars of deployments interrupted at random moments."""

from __future__ import annotations

from typing import TYPE_CHECKING

from benchmarks.results.judging.bars import bar

if TYPE_CHECKING:
    from collections.abc import Sequence

    from benchmarks.results.judging.bars import Bar, Row

DEPLOYMENTS = 200
DEPLOY_FAULTS = (
    "host killed",
    "agent killed",
    "board's processes killed",
    "power cut",
    "link down",
    "disk full",
    "service does not start",
    "service does not start, host killed",
    "health check hangs",
    "health check hangs, board's processes killed",
)
"""The faults, in order."""


def judge(rows: Sequence[Row]) -> list[Bar]:
    """Return bars for each kind of fault and for the number of deployments.

    After a fault the old or the new release must run completely, and the report must say which.
    """
    bars = []
    for name in DEPLOY_FAULTS:
        mine = [row for row in rows if row["fault"] == name]
        share = sum(row["held"] is True and row["runs"] in {"old", "new"} for row in mine) / len(mine) if mine else None
        bars.append(bar(f"old or new release, wholly, and told: {name}", share, 1, at_least=True))
    return [*bars, bar("deployments with a fault at a random moment", len(rows), DEPLOYMENTS, at_least=True)]
