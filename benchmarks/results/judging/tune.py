"""The bars of ``hil int8 tune`` on third-party models."""

from __future__ import annotations

from typing import TYPE_CHECKING

from benchmarks.results.judging.bars import bar

if TYPE_CHECKING:
    from collections.abc import Sequence

    from benchmarks.results.judging.bars import Bar, Row

MODELS, BUILDS, SHARE = 3, 25, 0.8


def met(row: Row) -> bool:
    """Return whether full INT8 missed a tolerance, and a later build met all of them."""
    holds = [trial["holds"] for trial in row["trials"]]
    return holds[0] is False and bool(row["trials"][0]["missed"]) and any(holds[1:]) and row["met"] is True


def judge(rows: Sequence[Row], models: int = MODELS, builds: int = BUILDS) -> list[Bar]:
    """Return bars for the models whose tolerances were met after full INT8 missed one, the builds and the shares.

    Figures are absent if a model is missing or its tolerances were not met.
    """
    tuned = len({row["model"] for row in rows if met(row)})
    whole = tuned >= models and all(map(met, rows))
    return [
        bar("models whose missed tolerances hold after tuning", tuned, models, at_least=True),
        bar("most builds of a model", max(row["builds"] for row in rows) if whole else None, builds),
        bar(
            "least share of full INT8's multiply-adds still in INT8",
            min(row["share"] for row in rows) if whole else None,
            SHARE,
            at_least=True,
        ),
    ]
