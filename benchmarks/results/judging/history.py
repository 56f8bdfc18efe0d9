"""The bars of a history: the time of its queries, and what is lost when writers are killed."""

from __future__ import annotations

from typing import TYPE_CHECKING

from benchmarks.results.judging.bars import bar

if TYPE_CHECKING:
    from collections.abc import Sequence

    from benchmarks.results.judging.bars import Bar, Row

HISTORY_RUNS, HISTORY_MEASUREMENTS, HISTORY_REPEATS = 20_000, 1_000_000, 11
HISTORY_BAR = 1.0
"""Seconds that the slowest repeat of the matrix query may take."""

DATABASES = ("SQLite", "PostgreSQL")
FEWEST_KILLS, FEWEST_KEPT = 50, 200
"""Fewest killed writers and confirmed runs: fewer prove little."""

SPOILED = tuple(
    f"{what}, {when}"
    for what in ("no database", "cut in half", "read-only")
    for when in ("before the run", "while it measured")
)


def judge(rows: Sequence[Row]) -> list[Bar]:
    """Return bars for the matrix query, killed writers, older schemas, and broken histories."""
    bars = []
    for database in DATABASES:
        by_kind = {row["what"]: row for row in rows if row.get("database") == database}
        matrix, writers, older = (by_kind.get(what) for what in ("matrix", "writers", "older schema"))
        large = matrix and matrix["runs"] >= HISTORY_RUNS and matrix["measurements"] >= HISTORY_MEASUREMENTS
        repeated = matrix and large and matrix["points"] and len(matrix["seconds"]) >= HISTORY_REPEATS
        complete = matrix if matrix and repeated else None
        slowest = max(complete["seconds"]) if complete else None
        name = f"matrix query over {HISTORY_MEASUREMENTS:,} measurements, slowest of {HISTORY_REPEATS}, {database}"
        bars.append(bar(name, slowest, HISTORY_BAR, unit="s"))
        enough = writers and writers["killed"] >= FEWEST_KILLS and writers["confirmed"] >= FEWEST_KEPT
        spoilt = float(writers["lost"] + writers["twice"] + writers["partial"]) if writers and enough else None
        bars.append(bar(f"runs lost, doubled or cut in half by 16 killed writers, {database}", spoilt, 0))
        share = None if older is None else float(older["good"] is True)
        bars.append(bar(f"a database of the first schema migrates, {database}", share, 1, at_least=True))
    survived = {row["case"]: _survived(row) for row in rows if row["what"] == "trouble"}
    share_survived = None
    if set(survived) == set(SPOILED):
        share_survived = sum(survived[case] for case in SPOILED) / len(SPOILED)
    bars.append(bar("a broken history: one clear message, and the report on disk", share_survived, 1, at_least=True))
    return bars


def _survived(row: Row) -> bool:
    """Return whether there was one message and a report, which is incomplete only if the run was refused early."""
    report = "incomplete" if row["early"] else "complete"
    return row["code"] in {4, 11} and len(row["messages"]) == 1 and not row["traceback"] and row["report"] == report
