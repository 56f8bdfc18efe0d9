"""The bars of ONNX's own test cases."""

from __future__ import annotations

from typing import TYPE_CHECKING

from benchmarks.results.judging.bars import bar

if TYPE_CHECKING:
    from collections.abc import Sequence

    from benchmarks.results.judging.bars import Bar, Row

NODE_CASES, STORED_CASES = 1884, 140
"""Number of node cases in onnx 1.23, and a lower bound of the models that it stores."""

OUTCOMES = ("passed", "failed", "refused")


def judge(rows: Sequence[Row]) -> list[Bar]:
    """Return bars for tracebacks, wrong verdicts and refusals, damage that passed, and the number of cases.

    If a case is missing, only the numbers of cases have a figure.
    """
    node = len({row["case"] for row in rows if row["kind"] == "node"})
    stored = len({(row["kind"], row["case"]) for row in rows if row["kind"] != "node"})
    counts = [
        bar("node cases judged", node, NODE_CASES, at_least=True),
        bar("stored models judged", stored, STORED_CASES, at_least=True),
    ]
    return [*judge_sample(rows if all(one["met"] for one in counts) else ()), *counts]


def judge_sample(rows: Sequence[Row]) -> list[Bar]:
    """Return the bars that a sample of the cases can meet; without rows they have no figure."""
    wrong = {
        "cases that ended with a traceback": sum(row["outcome"] not in OUTCOMES for row in rows),
        "wrong verdicts and wrong refusals": sum(row["wrong"] != "" for row in rows),
        "damaged outputs that passed": sum(row["missed"] is not False for row in rows),
    }
    return [bar(name, count if rows else None, 0) for name, count in wrong.items()]
