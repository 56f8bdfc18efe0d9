"""The bars of verdicts on real models that are changed soundly or damaged."""

from __future__ import annotations

from typing import TYPE_CHECKING

from benchmarks.results.judging.bars import CONFIDENCE, bar
from benchmarks.verdicts.table import bounds

if TYPE_CHECKING:
    from collections.abc import Sequence

    from benchmarks.results.judging.bars import Bar, Row

BUNDLED = ("arm", "digits", "scenes")
FOREIGN, SOUND_KINDS, BROKEN_KINDS, SOUND, BROKEN = 6, 12, 16, 100, 150
"""The smallest numbers of third-party models, of kinds of sound changes and of damage that count, and of verdicts on
sound and on broken engines."""

SOUND_FAILED, INCONCLUSIVE = 0.03, 0.10
"""The largest share of sound engines that fail, and of inconclusive engines, both with the kinds of ``hil init``."""


def counted(rows: Sequence[Row], truth: str, judge: str, verdict: str) -> tuple[int, int]:
    """Return how many engines whose truth is ``truth`` (empty: sound or broken) got ``verdict``, and how many exist."""
    those = [row for row in rows if row["truth"] in ({truth} if truth else {"sound", "broken"})]
    return sum(row["verdicts"][judge] == verdict for row in those), len(those)


def judge(rows: Sequence[Row]) -> list[Bar]:
    """Return the bars on the verdicts and on the numbers of engines, models and kinds.

    If a number is too small, the bars on verdicts have no figure.
    """
    of = {truth: [row for row in rows if row["truth"] == truth] for truth in ("sound", "broken")}
    models = {row["model"] for row in rows}
    counts = [
        bar("models of others", len(models - set(BUNDLED)), FOREIGN, at_least=True),
        bar("bundled models", len(models & set(BUNDLED)), len(BUNDLED), at_least=True),
        bar("kinds of sound change", len({row["kind"] for row in of["sound"]}), SOUND_KINDS, at_least=True),
        bar("kinds of damage", len({row["kind"] for row in of["broken"]}), BROKEN_KINDS, at_least=True),
        bar("verdicts on sound engines", len(of["sound"]), SOUND, at_least=True),
        bar("verdicts on broken engines", len(of["broken"]), BROKEN, at_least=True),
    ]
    return [*judge_sample(rows if all(one["met"] for one in counts) else ()), *counts]


def judge_sample(rows: Sequence[Row]) -> list[Bar]:
    """Return the bars on the verdicts; without rows they have no figure."""
    return [
        _share(rows, "broken engines passed, kinds declared", "broken", "declared", "passed", 0.0),
        _share(rows, "sound engines failed, kinds declared", "sound", "declared", "failed", SOUND_FAILED),
        _share(rows, "inconclusive, kinds declared", "", "declared", "inconclusive", INCONCLUSIVE),
        _share(rows, "broken engines passed, none declared", "broken", "undeclared", "passed", 0.0),
    ]


def _share(rows: Sequence[Row], name: str, truth: str, judged_by: str, verdict: str, limit: float) -> Bar:  # noqa: PLR0913, PLR0917 - a table's columns
    hits, trials = counted(rows, truth, judged_by, verdict)
    if not trials:
        return bar(name, None, limit)
    low, high = bounds(hits, trials, CONFIDENCE)
    return bar(name, hits / trials, limit, low=low, high=high)
