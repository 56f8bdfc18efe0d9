"""The bars of naming what broke an engine's parity, alone and beside Polygraphy."""

from __future__ import annotations

from typing import TYPE_CHECKING

from benchmarks.results.judging.bars import bar

if TYPE_CHECKING:
    from collections.abc import Sequence

    from benchmarks.results.judging.bars import Bar, Row

PARITY_PLANTED, PARITY_NAMED = 40, 0.9
"""Planted faults, as many healthy engines, and the share of faults whose node must be named."""

PARITY_PEER, PARITY_HOLES = 0.5, 8
"""What a comparison may take of Polygraphy's time and memory, and how many comparisons must not pass."""


def planted(rows: Sequence[Row]) -> list[Bar]:
    """Faults detected and named by the node or one that is fused with it, and healthy engines that were accused."""
    sick, healthy = ([row for row in rows if bool(row["planted"]) is planted] for planted in (True, False))
    told, accused = ([row for row in side if row["accused"] or _out(row)] for side in (sick, healthy))
    right = [row for row in sick if row["right"]]
    whole = len(sick) >= PARITY_PLANTED and len(healthy) >= PARITY_PLANTED
    share = [len(one) / len(sick) if whole else None for one in (told, right)]
    return [
        bar("planted faults that were detected", share[0], 1.0, at_least=True),
        bar("planted faults whose node was named", share[1], PARITY_NAMED, at_least=True),
        bar("healthy engines that were accused", len(accused) if whole else None, 0),
    ]


def _out(row: Row) -> bool:
    """Whether parity failed for what the fault did: random weights may lose as much by INT8 alone."""
    return bool(row["parity"] == "failed" and row["precision"] != "int8")


def peer(rows: Sequence[Row]) -> list[Bar]:
    """Our fastest process by theirs, and our largest peak of memory by theirs."""
    bars = []
    for model in dict.fromkeys(row["model"] for row in rows):
        mine = {side: [r for r in rows if (r["model"], r["side"]) == (model, side)] for side in ("ours", "theirs")}
        whole = all(mine.values())
        for name, key, pick in (("time", "seconds", min), ("peak of memory", "peak", max)):
            ours, theirs = (pick(row[key] for row in mine[side]) if whole else 0.0 for side in ("ours", "theirs"))
            bars.append(bar(f"{name} by Polygraphy's, {model}", ours / theirs if whole else None, PARITY_PEER))
    return bars or [bar("time by Polygraphy's", None, PARITY_PEER)]


def holes(rows: Sequence[Row]) -> list[Bar]:
    """Comparisons that must not pass and did, of all of them."""
    there = len({row["hole"] for row in rows}) == PARITY_HOLES
    return [bar("comparisons of nothing that passed", sum(row["ours"] for row in rows) if there else None, 0)]
