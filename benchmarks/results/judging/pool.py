"""The bars of several boards: their speed, what a pool costs on one board, and runs that are disturbed at random."""

from __future__ import annotations

import statistics
from collections import Counter
from typing import TYPE_CHECKING

from benchmarks.results.judging.bars import bar

if TYPE_CHECKING:
    from collections.abc import Sequence

    from benchmarks.results.judging.bars import Bar, Row

BOARDS, SPEED_UP = 4, 3.5
"""Number of boards of the part ``speed``, and how many times as fast as one board they must be."""

COST, PAIRS = 2.0, 4
"""Seconds that a pool may add to a run on one board, and the fewest pairs of runs."""

UNTIMED = ("contract", "parity", "property", "int8")
"""Families of checks whose verdicts do not depend on any duration."""

LAB_BOARDS, RUNS = 20, 50
"""Boards and runs of the disturbed lab."""

FREE = 60.0
"""Seconds after which no place may be held by a run that was killed, or that ended."""


def speed(rows: Sequence[Row]) -> list[Bar]:
    """Return a bar for how much faster four boards are than one, if both runs judged all rows on that many boards."""
    by = {row["boards"]: row for row in rows}
    good = {1, BOARDS} <= set(by) and all(
        row["passed"] == row["rows"] > 0 and row["used"] == boards for boards, row in by.items()
    )
    figure = by[1]["seconds"] / by[BOARDS]["seconds"] if good else None
    return [bar(f"speed of {BOARDS} boards by that of one", figure, SPEED_UP, at_least=True)]


def cost(rows: Sequence[Row]) -> list[Bar]:
    """Return bars for the median difference between a run on a pool of one board and a run on that board."""
    bars = []
    for way in ("without pytest-xdist", "with -n 1"):
        mine = [row for row in rows if row["way"] == way and row["passed"]]
        more = [row["pool"] - row["board"] for row in mine]
        figure = statistics.median(more) if len(more) >= PAIRS else None
        bounds = (min(more, default=None), max(more, default=None))
        bars.append(
            bar(f"what a pool costs on one board, {way}", figure, COST, unit="s", low=bounds[0], high=bounds[1])
        )
    return bars


def main_job(rows: Sequence[Row]) -> list[Bar]:
    """Return bars for the rows of the main job on a pool that differ from those of the main job on one target."""
    sides = {side: [row for row in rows if row["side"] == side] for side in ("one", "pool")}
    one, pool = (Counter(map(_key, mine)) for mine in sides.values())
    verdicts = {_key(row): row["verdict"] for row in sides["pool"]}
    untimed = [row for row in sides["one"] if row["id"].split(".")[0] in UNTIMED]
    used = {(row["model"], row["board"]) for row in sides["pool"]}
    models, boards = ({pair[at] for pair in used} for at in (0, 1))
    counts = {
        "rows of the main job that a pool lost": (one - pool).total(),
        "rows of the main job that a pool doubled": (pool - one).total(),
        "models of the main job split between boards": len(used) - len(models),
        "verdicts of untimed rows that differ on a pool": sum(
            row["verdict"] != verdicts.get(_key(row)) for row in untimed
        ),
    }
    known = bool(untimed and pool)
    return [
        *(bar(name, figure if known else None, 0) for name, figure in counts.items()),
        bar("boards that the main job used at once", len(boards) if known else None, len(models), at_least=True),
    ]


def _key(row: Row) -> tuple[str, ...]:
    return (row["id"], row["model"], row["precision"], row["scenario"])


def disturbed(rows: Sequence[Row]) -> list[Bar]:
    """Return bars for what random kicks, losses, killed runs and waits must not cause."""
    runs, labs = ([row for row in rows if row["part"] == part] for part in ("run", "lab"))
    ended = [row for row in runs if not row["killed"]]
    judged = [row for row in ended if "error" not in row]
    kinds = {
        "a kick": sum(lab["kicks"] for lab in labs),
        "an exporter that restarts": sum(lab["exporters"] for lab in labs),
        "a killed run": len(runs) - len(ended),
        "an attempt that begins again": sum(row["attempts"] for row in judged),
    }
    slowest = max((max(lab["seconds"], lab["seconds_after_kill"]) for lab in labs), default=None)
    counts = {
        "boards that two runs used at once, though none was kicked": sum(row["used_by_two"] for row in judged),
        "places and reservations left": sum(len(lab["left"]) + lab["reservations"] for lab in labs),
        "rows lost": sum(row["missing"] for row in judged),
        "rows doubled": sum(row["doubled"] for row in judged),
        "models split between boards": sum(row["split"] for row in judged),
        "runs that hung or ended with a traceback": sum(row["hung"] for row in judged) + len(ended) - len(judged),
    }
    return [
        bar("runs on a lab that was disturbed", len(runs), RUNS, at_least=True),
        bar("boards of the lab", sum(lab["boards"] for lab in labs), LAB_BOARDS, at_least=True),
        bar("kinds of disturbance that occurred", sum(map(bool, kinds.values())), len(kinds), at_least=True),
        *(bar(name, figure if judged and labs else None, 0) for name, figure in counts.items()),
        bar("longest time until all places of a dead run were free", slowest, FREE, unit="s"),
    ]
