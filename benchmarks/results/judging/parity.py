"""The bars of naming the node that broke an engine's parity, alone and against Polygraphy."""

from __future__ import annotations

from typing import TYPE_CHECKING

from benchmarks.results.judging.bars import bar

if TYPE_CHECKING:
    from collections.abc import Sequence

    from benchmarks.results.judging.bars import Bar, Row

PARITY_PLANTED, PARITY_NAMED = 40, 0.9
"""Number of planted faults and of healthy engines, and the share of faults whose node must be named."""

PARITY_PEER, PARITY_HOLES = 0.5, 8
"""Most time and memory of a comparison relative to Polygraphy's, and the number of comparisons that must not pass."""


def planted(rows: Sequence[Row]) -> list[Bar]:
    """Return bars for faults detected, faults named by the node or one fused with it, and healthy engines accused."""
    faulty, healthy = ([row for row in rows if bool(row["planted"]) is planted] for planted in (True, False))
    detected, accused = ([row for row in side if row["accused"] or _out(row)] for side in (faulty, healthy))
    right = [row for row in faulty if row["right"]]
    complete = len(faulty) >= PARITY_PLANTED and len(healthy) >= PARITY_PLANTED
    share = [len(rows_) / len(faulty) if complete else None for rows_ in (detected, right)]
    return [
        bar("planted faults that were detected", share[0], 1.0, at_least=True),
        bar("planted faults whose node was named", share[1], PARITY_NAMED, at_least=True),
        bar("healthy engines that were accused", len(accused) if complete else None, 0),
    ]


def _out(row: Row) -> bool:
    """Return whether parity failed; INT8 does not count, since it alone may fail parity with random weights."""
    return bool(row["parity"] == "failed" and row["precision"] != "int8")


def peer(rows: Sequence[Row]) -> list[Bar]:
    """Return bars for the time and for the peak of memory of our processes, each divided by Polygraphy's."""
    bars = []
    for model in dict.fromkeys(row["model"] for row in rows):
        mine = {side: [r for r in rows if (r["model"], r["side"]) == (model, side)] for side in ("ours", "theirs")}
        complete = all(mine.values())
        for name, key, pick in (("time", "seconds", min), ("peak of memory", "peak", max)):
            ours, theirs = (pick(row[key] for row in mine[side]) if complete else 0.0 for side in ("ours", "theirs"))
            bars.append(bar(f"{name} by Polygraphy's, {model}", ours / theirs if complete else None, PARITY_PEER))
    return bars or [bar("time by Polygraphy's", None, PARITY_PEER)]


def holes(rows: Sequence[Row]) -> list[Bar]:
    """Return the bar for comparisons that passed although they must not; all of them must be present."""
    there = len({row["hole"] for row in rows}) == PARITY_HOLES
    return [bar("comparisons of nothing that passed", sum(row["ours"] for row in rows) if there else None, 0)]
