"""The bars of claims about precision that are judged on ONNX files."""

from __future__ import annotations

from typing import TYPE_CHECKING

from benchmarks.results.judging.bars import bar
from benchmarks.verdicts.table import bounds

if TYPE_CHECKING:
    from collections.abc import Sequence

    from benchmarks.results.judging.bars import Bar, Row

DRAWS = 15
SOUND, WRONG = 20, 134
"""Number of sound and of wrong claims in each draw."""


def judge(rows: Sequence[Row]) -> list[Bar]:
    """Return bars for wrong claims that were found, and sound ones that were accused or contradicted by a parser."""
    draws = len({row["draw"] for row in rows})
    whole = {part: _whole(rows, part, count, draws) for part, count in (("wrong", WRONG), ("sound", SOUND))}
    found = sum(row["found"] is True for row in whole["wrong"])
    accused = sum(row["found"] is not False for row in whole["sound"])
    known = [row["parsed"] for row in whole["sound"] if row["draw"] == 0]
    contradicted = None if not known or None in known else sum(str(one).startswith("contradicted") for one in known)
    share = found / len(whole["wrong"]) if whole["wrong"] else None
    low, high = bounds(found, len(whole["wrong"])) if whole["wrong"] else (None, None)
    most = bounds(accused, len(whole["sound"])) if whole["sound"] else (None, None)
    number = accused / len(whole["sound"]) if whole["sound"] else None
    return [
        bar(f"wrong claims found, of {draws * WRONG}", share, 1, at_least=True, low=low, high=high),
        bar(f"share of sound claims accused, of {draws * SOUND}", number, 0, low=most[0], high=most[1]),
        bar("sound claims that TensorRT-RTX's parsed network contradicts", contradicted, 0),
    ]


def _whole(rows: Sequence[Row], part: str, count: int, draws: int) -> list[Row]:
    """Return the rows of a part; an empty list if a case is missing or occurs twice."""
    mine = [row for row in rows if row["part"] == part]
    keys = {(row["name"], row["claimed"], row["draw"]) for row in mine}
    return mine if len(mine) == len(keys) == count * draws else []
