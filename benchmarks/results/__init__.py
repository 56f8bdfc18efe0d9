"""Results of benchmarks that need hardware of their own, kept as files: raw rows, and the bars that follow from them.

A file is one JSON object after ``schema.json``. Its bars are never typed in: ``judge`` draws them from the rows, and
``problems`` draws them again and says where a file claims anything else.
"""

from __future__ import annotations

import json
import os
import re
import subprocess
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from benchmarks.results.judging import JUDGES

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

SCHEMA_VERSION = 1
FOLDER = Path(__file__).parent
SCHEMA = FOLDER / "schema.json"
COMMIT = re.compile(r"[0-9a-f]{40}")
START, END = "<!-- table -->", "<!-- end of table -->"

Result = dict[str, Any]


def commit() -> str:
    """The commit that is measured: ``HIL_COMMIT`` where there is no git history. Raises ``SystemExit`` without one."""
    given = os.environ.get("HIL_COMMIT", "")
    if not given:
        asked = ["git", "-C", str(FOLDER), "rev-parse", "HEAD"]
        done = subprocess.run(asked, capture_output=True, text=True, check=False)
        given = done.stdout.strip()
    if not COMMIT.fullmatch(given):
        raise SystemExit("which commit is measured is not known: run from a clone, or set HIL_COMMIT to its 40 digits")
    return given


def result(
    benchmark: str,
    rows: Sequence[Mapping[str, Any]],
    *,
    command: Sequence[str],
    versions: Mapping[str, str],
    quick: bool,
) -> Result:
    """A result with its bars drawn from ``rows``. Raises ``ValueError`` for a benchmark without a judge."""
    # By way of JSON, so that a bar is drawn from just the numbers that are kept.
    kept = json.loads(json.dumps(list(rows), allow_nan=False))
    bars = judge(benchmark, kept)
    return {
        "schema": SCHEMA_VERSION,
        "benchmark": benchmark,
        "commit": commit(),
        "command": list(command),
        "versions": dict(versions),
        "when": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
        "quick": quick,
        "bars": bars,
        "passed": passed(bars),
        "rows": kept,
    }


def judge(benchmark: str, rows: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """The bars that ``rows`` give. Raises ``ValueError`` for a benchmark without a judge."""
    if benchmark not in JUDGES:
        raise ValueError(f"no benchmark is called {benchmark!r}; there are {', '.join(JUDGES)}")
    return JUDGES[benchmark](rows)


def passed(bars: Sequence[Mapping[str, Any]]) -> bool:
    """Whether there are bars and every one of them is met."""
    return bool(bars) and all(bar["met"] is True for bar in bars)


def write(folder: Path, made: Result) -> Path:
    """Write a result as ``BENCHMARK.json`` below ``folder``, whole or not at all; its path."""
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / f"{made['benchmark']}.json"
    beside = path.with_suffix(".new")
    beside.write_text(json.dumps(made, indent=1, sort_keys=True, allow_nan=False) + "\n", encoding="utf-8")
    beside.replace(path)
    return path


def problems(found: Mapping[str, Any]) -> list[str]:
    """Where a result that fits the schema claims what its rows do not say, or stands on less than a whole run."""
    wrong = []
    if not COMMIT.fullmatch(found["commit"]):
        wrong.append(f"commit {found['commit']!r} is no git hash")
    if found["quick"]:
        wrong.append("a quick run is no result")
    try:
        drawn = json.loads(json.dumps(judge(found["benchmark"], found["rows"])))
    except (ArithmeticError, AttributeError, KeyError, TypeError, ValueError) as error:
        return [*wrong, f"the rows cannot be judged: {type(error).__name__}: {error}"]
    if [bar["name"] for bar in drawn] != [bar["name"] for bar in found["bars"]]:
        return [*wrong, "the rows give other bars than the file has"]
    wrong += [
        f"{ours['name']}: {key} is {theirs.get(key)}, the rows give {ours[key]}"
        for ours, theirs in zip(drawn, found["bars"], strict=True)
        for key in ours
        if not _same(ours[key], theirs.get(key))
    ]
    if found["passed"] is not passed(drawn):
        wrong.append(f"passed is {found['passed']}, the bars give {passed(drawn)}")
    return wrong


def _same(drawn: Any, told: Any) -> bool:
    """Equal, floats but for the last digits: another numpy may add up in another order."""
    if isinstance(drawn, float) and isinstance(told, float | int) and not isinstance(told, bool):
        return bool(np.isclose(drawn, told, rtol=1e-9, atol=1e-12))
    return type(drawn) is type(told) and bool(drawn == told)


def table(results: Sequence[Mapping[str, Any]]) -> str:
    """The bars of all results as a Markdown table, by benchmark."""
    lines = ["| benchmark | bar | figure | wanted | |", "|---|---|---|---|---|"]
    for one in sorted(results, key=lambda found: str(found["benchmark"])):
        for bar in one["bars"]:
            where = f"[{one['benchmark']}]({one['benchmark']}.json)"
            met = "met" if bar["met"] else "**missed**"
            lines.append(f"| {where} | {bar['name']} | {told(bar)} | {bar['sense']} {_number(bar['limit'])} | {met} |")
    return "\n".join(lines)


def told(bar: Mapping[str, Any]) -> str:
    """A bar's figure with its unit and, where it has one, its interval."""
    if bar["figure"] is None:
        return "none"
    text = f"{_number(bar['figure'])} {bar['unit']}".strip()
    if bar["low"] is not None and bar["high"] is not None:
        text += f" ({_number(bar['low'])} to {_number(bar['high'])})"
    return text


def _number(value: float) -> str:
    return f"{value:.4g}"


def read_all(folder: Path = FOLDER) -> list[Result]:
    """Every result below ``folder``, by file name."""
    paths = sorted(path for path in folder.glob("*.json") if path.name != SCHEMA.name)
    return [json.loads(path.read_text(encoding="utf-8")) for path in paths]


def refreshed(readme: str, results: Sequence[Mapping[str, Any]]) -> str:
    """The README's text with the table of ``results`` between its two marks."""
    before, _, rest = readme.partition(START)
    _, _, after = rest.partition(END)
    return f"{before}{START}\n{table(results)}\n{END}{after}"
