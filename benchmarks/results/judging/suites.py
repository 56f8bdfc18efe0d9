"""The bars of the models for which the whole suites run on a GPU."""

from __future__ import annotations

from typing import TYPE_CHECKING

from benchmarks.networks import NETWORKS
from benchmarks.projects import BUNDLED, PARITY_BARS
from benchmarks.results.judging.bars import bar

if TYPE_CHECKING:
    from collections.abc import Sequence

    from benchmarks.results.judging.bars import Bar, Row

MODELS = (*BUNDLED, *NETWORKS)
DEVICE = ("gpu", "device")


def judge(model: str, rows: Sequence[Row]) -> list[Bar]:
    """Return bars for parity by precision, hidden misses, engines not compared, and evidence from this GPU."""
    parity = [row for row in rows if row["check"] == "parity.outputs"]
    bars = [
        bar(f"relative error, {row['model']} {row['precision']}", row["max_rel"], PARITY_BARS[row["precision"]])
        for row in parity
        if row["precision"] in PARITY_BARS
    ]
    missed = [entry["name"] for entry in bars if not entry["met"]]
    judged = {f"relative error, {row['model']} {row['precision']}": row for row in parity}
    silent = [name for name in missed if judged[name]["verdict"] != "failed" or not judged[name]["reason"]]
    compared = {(row["model"], row["precision"]) for row in parity if row["max_rel"] is not None}
    expected = {(model, precision) for precision in (*PARITY_BARS, "int8")} | {(f"{model}-implicit", "int8")}
    lacking = expected - compared
    elsewhere = [
        row
        for row in rows
        if row["verdict"] != "not_run" and not row["on_host"] and (row["executed_on"], row["evidence"]) != DEVICE
    ]
    return [
        *bars,
        bar("misses that the report does not tell", len(silent) if bars else None, 0),
        bar("engines that were not compared", len(lacking), 0),
        bar("checks of an engine without evidence that it ran on this GPU", len(elsewhere) if rows else None, 0),
    ]
