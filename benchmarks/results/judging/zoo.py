"""The bars of third-party models from ``hil init`` to ``hil gate``."""

from __future__ import annotations

from typing import TYPE_CHECKING

from benchmarks.results.judging.bars import bar

if TYPE_CHECKING:
    from collections.abc import Sequence

    from benchmarks.results.judging.bars import Bar, Row

MODELS, DAMAGED = 13, 13
"""Number of models, and of damaged copies that are compared at each precision."""

PRECISIONS = ("fp32", "int8")


def judge(rows: Sequence[Row]) -> list[Bar]:
    """Return bars for models without the stated outcome, and for damaged copies within a precision's tolerances.

    If models or copies are missing, the bars have no figure.
    """
    whole = [row for row in rows if row["part"] == "model"]
    complete = len({row["model"] for row in whole}) >= MODELS
    ended = sum(row["ended"] != row["expected"] for row in whole) if complete else None
    bars = [bar("models that ended otherwise than stated", ended, 0)]
    for precision in PRECISIONS:
        copies = [row for row in rows if row["part"] == "damage" and row["precision"] == precision]
        passed = sum(row["verdict"] != "failed" for row in copies) if len(copies) >= DAMAGED else None
        bars.append(bar(f"damaged copies within the tolerances of {precision}", passed, 0))
    return bars
