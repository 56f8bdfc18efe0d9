"""The bars of comparing a model with itself and with its slowed copy."""

from __future__ import annotations

from typing import TYPE_CHECKING

from benchmarks.results.judging.bars import CONFIDENCE, bar
from benchmarks.verdicts.table import bounds
from hil.stats.runs import compare_pairs, compare_runs, judge_change

if TYPE_CHECKING:
    from collections.abc import Sequence

    from benchmarks.results.judging.bars import Bar, Row

AA_MODELS = ("digits", "arm")
AA_ROUNDS, AA_PAIRS, AA_SIZE_PAIRS = 10, 9, 24
"""Rounds, pairs of a comparison, and pairs that measure the size of the slowdown; set before the first run.

Each round compares every model five times with itself and once with its slowed copy."""

ALARM_BAR, FOUND_BAR = 0.01, 0.95
SLOWDOWN_BAR = 0.055
"""The largest measured slowdown that is accepted for the nominal 5 %."""


def aa_called(row: Row, *, paired: bool = True) -> str:
    """Return ``worse``, ``better``, ``same`` or ``unclear``, by the pairs' ratios if ``paired``, else by both sides."""
    first, second, ratios = (list(side) for side in zip(*row["pairs"], strict=True))
    comparison = compare_pairs(ratios) if paired else compare_runs([first], [second], noise=0.0)
    return judge_change(comparison).value


def judge(rows: Sequence[Row]) -> list[Bar]:
    """Return bars for false alarms among all A/A comparisons, slowdowns found, and the measured size of the slowdowns.

    A change reported in either direction is a false alarm. Bounds of a share are one-sided at 95 %.
    """
    same = [row for row in rows if row["kind"] == "same" and len(row["pairs"]) == AA_PAIRS]
    slower = [row for row in rows if row["kind"] == "slowed" and len(row["pairs"]) == AA_PAIRS]
    expected = {(model, kind, count) for model in AA_MODELS for kind, count in (("same", 5), ("slowed", 1))}
    complete = all(
        sum(row["model"] == model for row in (same if kind == "same" else slower)) == count * AA_ROUNDS
        for model, kind, count in expected
    )
    bars = []
    for paired, how in ((True, "timed in turns"), (False, "by runs")):
        alarms = sum(aa_called(row, paired=paired) in {"worse", "better"} for row in same)
        name = f"false alarms of {5 * len(AA_MODELS) * AA_ROUNDS} A/A comparisons, {how}"
        bars.append(_share(name, alarms, len(same), ALARM_BAR, complete=complete))
    detected = sum(aa_called(row) == "worse" for row in slower)
    name = "slowdowns found, timed in turns"
    bars.append(_share(name, detected, len(slower), FOUND_BAR, complete=complete, at_least=True))
    for model in AA_MODELS:
        long = [row for row in rows if (row["model"], row["kind"]) == (model, "size")]
        sized = len(long) == 1 and len(long[0]["pairs"]) == AA_SIZE_PAIRS
        comparison = compare_pairs([ratio for *_, ratio in long[0]["pairs"]]) if sized else None
        low, high = (None, None) if comparison is None else (comparison.low - 1, comparison.high - 1)
        size = None if comparison is None else comparison.ratio - 1
        bars.append(bar(f"slowdown put into {model}", size, SLOWDOWN_BAR, low=low, high=high))
    return bars


def _share(  # noqa: PLR0913 - what a share and its bar are, named at each call
    name: str, hits: int, of: int, limit: float, *, complete: bool, at_least: bool = False
) -> Bar:
    """Return a share with Clopper-Pearson bounds; without a figure if less than planned was measured."""
    if not complete:
        return bar(name, None, limit, at_least=at_least)
    low, high = bounds(hits, of, CONFIDENCE)
    return bar(name, hits / of, limit, at_least=at_least, low=low, high=high)
