"""The bars of the models for which the whole suites run on a GPU."""

from __future__ import annotations

from typing import TYPE_CHECKING

from benchmarks.networks import NETWORKS
from benchmarks.projects import BUNDLED, PARITY_BARS
from benchmarks.results.judging.bars import bar

if TYPE_CHECKING:
    from collections.abc import Sequence
    from collections.abc import Set as AbstractSet

    from benchmarks.results.judging.bars import Bar, Row

MODELS = (*BUNDLED, *NETWORKS)
TRAINED = {
    "filter": {(name, precision) for name in ("filter", "filter-graph") for precision in ("fp32", "fp16", "int8")},
    "detector": {("detector", precision) for precision in (*PARITY_BARS, "int8")},
}
"""The engines of the models with trained weights whose verdicts are judged as they are, without bars of their own."""

COMPARED = {"parity.outputs", "sequence.free_running"}
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
    return [
        *bars,
        bar("misses that the report does not tell", len(silent) if bars else None, 0),
        *_executed(rows, expected - compared),
    ]


def trained(model: str, rows: Sequence[Row]) -> list[Bar]:
    """Return bars for comparisons in floating point that did not pass, engines not compared, and evidence."""
    judged = [row for row in rows if row["check"].partition(".")[0] in {"parity", "sequence"}]
    missed = [row for row in judged if row["precision"] != "int8" and row["verdict"] != "passed"]
    compared = {(row["model"], row["precision"]) for row in judged if row["check"] in COMPARED and _ran(row)}
    return [
        bar("comparisons in floating point that did not pass", len(missed) if judged else None, 0),
        *_executed(rows, TRAINED[model] - compared),
    ]


def _executed(rows: Sequence[Row], lacking: AbstractSet[tuple[str, str]]) -> list[Bar]:
    ran = [row for row in rows if _ran(row) and not row["on_host"]]
    elsewhere = [row for row in ran if (row["executed_on"], row["evidence"]) != DEVICE]
    return [
        bar("engines that were not compared", len(lacking), 0),
        bar("checks of an engine without evidence that it ran on this GPU", len(elsewhere) if rows else None, 0),
    ]


def _ran(row: Row) -> bool:
    return bool(row["verdict"] != "not_run")
