"""The bars of a history: how fast it answers, and what it keeps when its writers are killed."""

from __future__ import annotations

from typing import TYPE_CHECKING

from benchmarks.results.judging.bars import bar

if TYPE_CHECKING:
    from collections.abc import Sequence

    from benchmarks.results.judging.bars import Bar, Row

HISTORY_RUNS, HISTORY_MEASUREMENTS, HISTORY_REPEATS = 20_000, 1_000_000, 11
HISTORY_BAR = 1.0
"""Seconds that the slowest of the repeated matrix queries may take."""

DATABASES = ("SQLite", "PostgreSQL")
FEWEST_KILLS, FEWEST_KEPT = 50, 200
"""Writers that were killed and runs that they were told are kept, at least: less says little."""

SPOILED = tuple(
    f"{what}, {when}"
    for what in ("no database", "cut in half", "read-only")
    for when in ("before the run", "while it measured")
)


def judge(rows: Sequence[Row]) -> list[Bar]:
    """The matrix query's slowest repeat, what killed writers cost, older schemas, and what a broken history costs."""
    bars = []
    for database in DATABASES:
        mine = {row["what"]: row for row in rows if row.get("database") == database}
        asked, wrote, older = (mine.get(what) for what in ("matrix", "writers", "older schema"))
        large = asked and asked["runs"] >= HISTORY_RUNS and asked["measurements"] >= HISTORY_MEASUREMENTS
        whole = asked if asked and large and asked["points"] and len(asked["seconds"]) >= HISTORY_REPEATS else None
        slowest = max(whole["seconds"]) if whole else None
        name = f"matrix query over {HISTORY_MEASUREMENTS:,} measurements, slowest of {HISTORY_REPEATS}, {database}"
        bars.append(bar(name, slowest, HISTORY_BAR, unit="s"))
        enough = wrote if wrote and wrote["killed"] >= FEWEST_KILLS and wrote["confirmed"] >= FEWEST_KEPT else None
        spoilt = None if enough is None else float(enough["lost"] + enough["twice"] + enough["partial"])
        bars.append(bar(f"runs lost, doubled or cut in half by 16 killed writers, {database}", spoilt, 0))
        share = None if older is None else float(older["good"] is True)
        bars.append(bar(f"a database of the first schema migrates, {database}", share, 1, at_least=True))
    told = {row["case"]: _survived(row) for row in rows if row["what"] == "trouble"}
    found = sum(told.get(case, False) for case in SPOILED) / len(SPOILED) if set(told) == set(SPOILED) else None
    bars.append(bar("a broken history: one clear message, and the report on disk", found, 1, at_least=True))
    return bars


def _survived(row: Row) -> bool:
    """One message; the report whole, or begun where the run was refused before it measured anything."""
    report = "incomplete" if row["early"] else "complete"
    return row["code"] in {4, 11} and len(row["messages"]) == 1 and not row["traceback"] and row["report"] == report
