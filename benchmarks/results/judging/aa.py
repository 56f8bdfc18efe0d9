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
"""Each round compares every model five times with itself and once with its slowed copy; fixed before the first."""

ALARM_BAR, FOUND_BAR = 0.01, 0.95
SLOWDOWN_BAR = 0.055
"""The slowdown that is called one of 5 % is at most that."""


def aa_called(row: Row, *, paired: bool = True) -> str:
    """What is called of one comparison: the pairs' ratios, or each side's own times as runs of one session."""
    first, second, ratios = (list(side) for side in zip(*row["pairs"], strict=True))
    found = compare_pairs(ratios) if paired else compare_runs([first], [second])
    return judge_change(found).value


def judge(rows: Sequence[Row]) -> list[Bar]:
    """False alarms among all A/A comparisons, slowdowns found, and how large those truly were.

    A change that is called either way is a false alarm. Bounds of a share are one-sided at 95 %.
    """
    same = [row for row in rows if row["kind"] == "same" and len(row["pairs"]) == AA_PAIRS]
    slower = [row for row in rows if row["kind"] == "slowed" and len(row["pairs"]) == AA_PAIRS]
    of_each = {(model, kind, count) for model in AA_MODELS for kind, count in (("same", 5), ("slowed", 1))}
    whole = all(
        sum(row["model"] == model for row in (same if kind == "same" else slower)) == count * AA_ROUNDS
        for model, kind, count in of_each
    )
    bars = []
    for paired, how in ((True, "timed in turns"), (False, "by runs")):
        alarms = sum(aa_called(row, paired=paired) in {"worse", "better"} for row in same)
        name = f"false alarms of {5 * len(AA_MODELS) * AA_ROUNDS} A/A comparisons, {how}"
        bars.append(_share(name, alarms, len(same), ALARM_BAR, whole=whole))
    found = sum(aa_called(row) == "worse" for row in slower)
    bars.append(_share("slowdowns found, timed in turns", found, len(slower), FOUND_BAR, whole=whole, at_least=True))
    for model in AA_MODELS:
        long = [row for row in rows if (row["model"], row["kind"]) == (model, "size")]
        sized = len(long) == 1 and len(long[0]["pairs"]) == AA_SIZE_PAIRS
        seen = compare_pairs([ratio for *_, ratio in long[0]["pairs"]]) if sized else None
        low, high = (None, None) if seen is None else (seen.low - 1, seen.high - 1)
        size = None if seen is None else seen.ratio - 1
        bars.append(bar(f"slowdown put into {model}", size, SLOWDOWN_BAR, low=low, high=high))
    return bars


def _share(  # noqa: PLR0913 - what a share and its bar are, named at each call
    name: str, hits: int, of: int, limit: float, *, whole: bool, at_least: bool = False
) -> Bar:
    """A share with Clopper's and Pearson's bounds; none of less than all that was planned."""
    if not whole:
        return bar(name, None, limit, at_least=at_least)
    low, high = bounds(hits, of, CONFIDENCE)
    return bar(name, hits / of, limit, at_least=at_least, low=low, high=high)
