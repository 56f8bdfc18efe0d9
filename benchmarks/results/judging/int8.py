"""The bars of auditing INT8 calibrations."""

from __future__ import annotations

from typing import TYPE_CHECKING

from benchmarks.results.judging.bars import bar

if TYPE_CHECKING:
    from collections.abc import Sequence

    from benchmarks.results.judging.bars import Bar, Row

INT8_FAULTS = (
    "cache of another model",
    "cache of another data set",
    "cache of another version",
    "renamed tensors",
    "4 images",
    "one class only",
    "other preprocessing",
    "constant images",
    "an outlier that stretches a range",
    "validation data in the calibration set",
    "a scale of zero",
    "a truncated cache",
)
KEYS = ("found", "named")
THIRD_PARTY = ("healthy", "one saturated scale", "one scale too wide", "calibrated on noise")
THIRD_PARTY_MODELS, THIRD_PARTY_NAMED = 3, 0.9
"""Fewest networks of other projects, each audited healthy and with each fault, and the share of faults to be named."""

INT8_SEEDS, INT8_HEALTHY = 3, 12
"""Number of draws of each fault, and of healthy calibrations."""


def judge(rows: Sequence[Row]) -> list[Bar]:
    """Return bars for calibration faults that were found and named, and for healthy calibrations that were accused."""
    planted = {kind: [row for row in rows if row["kind"] == kind] for kind in INT8_FAULTS}
    healthy = [row for row in rows if row["kind"] == "healthy"]
    first = min((row["seed"] for row in rows), default=0)  # seeds must be consecutive, so that no draw was left out
    seeds = [list(range(first, first + count)) for count in (INT8_SEEDS, INT8_HEALTHY)]
    whole = all(sorted(row["seed"] for row in mine) == seeds[0] for mine in planted.values())
    drawn = sorted(row["seed"] for row in healthy) == seeds[1]
    mine = [row for rows_of_kind in planted.values() for row in rows_of_kind]
    bars = []
    for key, what in (("found", "found"), ("named", "named with their cause")):
        share = sum(row[key] is True for row in mine) / len(mine) if whole else None
        name = f"faults {what}, of {INT8_SEEDS} draws each of {len(INT8_FAULTS)} kinds"
        bars.append(bar(name, share, 1, at_least=True))
    accused = sum(row["accused"] is not False for row in healthy) if drawn else None
    bars.append(bar(f"healthy calibrations accused, of {INT8_HEALTHY}", accused, 0))
    return bars


def third_party(rows: Sequence[Row]) -> list[Bar]:
    """Return bars for networks of other projects: how many were audited wholly, and what ``judge`` counts."""
    kinds = {name: sorted(row["kind"] for row in rows if row["model"] == name) for name in {r["model"] for r in rows}}
    whole = bool(kinds) and all(mine == sorted(THIRD_PARTY) for mine in kinds.values())
    faulty = [row for row in rows if row["kind"] != "healthy"]
    found, named = (sum(row[key] is True for row in faulty) / len(faulty) if whole else None for key in KEYS)
    accused = sum(row["accused"] is not False for row in rows if row["kind"] == "healthy") if whole else None
    return [
        bar("networks of other projects", len(kinds) if whole else None, THIRD_PARTY_MODELS, at_least=True),
        bar("faults found", found, 1, at_least=True),
        bar("faults named with their tensor or input", named, THIRD_PARTY_NAMED, at_least=True),
        bar("healthy calibrations accused", accused, 0),
    ]
