"""The bars of sequences: planted faults and sound variants, the cost of a step, and real models."""

from __future__ import annotations

import statistics
from typing import TYPE_CHECKING

from benchmarks.results.judging.bars import CONFIDENCE, bar
from benchmarks.verdicts.table import bounds

if TYPE_CHECKING:
    from collections.abc import Sequence

    from benchmarks.results.judging.bars import Bar, Row

PLANTED, SOUND, NAMED = 40, 200, 0.9
SHARE, SECONDS = 0.02, 30e-6
PAIRS = 30
SIZES = ("small", "large")
REAL = ("silero", "frames", "dtln")
PRECISIONS = ("fp32", "int8")
CHECKS = ("sequence.teacher_forced", "sequence.free_running", "sequence.reset", "sequence.isolation")
LONGEST = 180.0
"""The fewest seconds that the longest recording must last."""


def planted(rows: Sequence[Row], *, whole: bool = True) -> list[Bar]:
    """Return the bars of the planted faults and of the sound variants; without all cases they have no figure.

    With ``whole`` false, missing cases are allowed, and chance may explain too few named faults.
    """
    faults, sound = ([row for row in rows if row["part"] == part] for part in ("fault", "sound"))
    seeds = {row["seed"] for row in rows}
    complete = all(
        sorted(row["number"] for row in mine) == list(range(count))
        for mine, count in ((faults, PLANTED), (sound, SOUND))
    )
    known = len(seeds) == 1 and (complete or not whole)
    detected = sum(row["passed"] is False for row in faults)
    right = sum(row["right"] is True and row["passed"] is False for row in faults)
    accused = sum(row["failed"] is not False for row in sound)
    low, high = bounds(right, len(faults), CONFIDENCE) if faults else (0.0, 1.0)
    share = right / len(faults) if known and faults else None
    named = bar("planted faults whose cause was named", share, NAMED, at_least=True, low=low, high=high)
    named["met"] = named["met"] or (not whole and high >= NAMED)
    most = bounds(accused, len(sound), CONFIDENCE)[1] if sound else 1.0
    text = f"sound variants that were accused (of {len(sound)}; the rate is at most {most:.1%})"
    return [
        bar(
            "planted faults that were detected", detected / len(faults) if known and faults else None, 1, at_least=True
        ),
        named,
        bar(text, accused if known and sound else None, 0),
    ]


def cost(rows: Sequence[Row], *, whole: bool = True) -> list[Bar]:
    """Return a bar for each model's cost of a step: the median difference of the pairs, in µs.

    The limit is ``SECONDS`` or ``SHARE`` of the bare step, whichever is larger.
    """
    made = []
    for size in SIZES:
        pairs = [row for row in rows if row["size"] == size]
        known = len(pairs) >= PAIRS or (pairs and not whole)
        figure = statistics.median(pair["agent"] - pair["bare"] for pair in pairs) if known else None
        limit = max(SECONDS, SHARE * statistics.median(pair["bare"] for pair in pairs)) if known else SECONDS
        name = f"cost of a step of the {size} model"
        made.append(bar(name, None if figure is None else 1e6 * figure, 1e6 * limit, unit="µs"))
    return made


def speech(rows: Sequence[Row]) -> list[Bar]:
    """Return a bar for FP32 checks that did not pass, and one for failed INT8 checks without a cause.

    Without all models, precisions, checks and minutes, the bars have no figure.
    """
    keys = sorted((row["model"], row["precision"], row["check"]) for row in rows if row["check"] in CHECKS)
    wanted = sorted((model, precision, check) for model in REAL for precision in PRECISIONS for check in CHECKS)
    known = keys == wanted and all(row["longest"] >= LONGEST for row in rows)
    exact = [row for row in rows if row["precision"] == "fp32"]
    wrong = sum(row["verdict"] != "passed" for row in exact) if known else None
    rounded = [row for row in rows if row["precision"] == "int8" and row["verdict"] == "failed"]
    silent = sum(not row["cause"] for row in rounded) if known else None
    return [
        bar("checks of real models in FP32 that did not pass", wrong, 0),
        bar("failed checks of real models in INT8 without a cause", silent, 0),
    ]
