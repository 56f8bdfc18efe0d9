"""Results of benchmarks that need special hardware, stored as files with raw rows and the bars that follow from them.

A file is one JSON object that matches ``schema.json``. Its bars are computed from the rows by ``judge``; ``problems``
computes them again and reports where a file differs.
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
    """Return the measured commit: ``HIL_COMMIT``, or the clone's. Raise ``SystemExit`` if it is unknown."""
    digits = os.environ.get("HIL_COMMIT", "")
    if not digits:
        command = ["git", "-C", str(FOLDER), "rev-parse", "HEAD"]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        digits = done.stdout.strip()
    if not COMMIT.fullmatch(digits):
        raise SystemExit("the measured commit is unknown: run from a clone, or set HIL_COMMIT to its 40 digits")
    return digits


def result(
    benchmark: str,
    rows: Sequence[Mapping[str, Any]],
    *,
    command: Sequence[str],
    versions: Mapping[str, str],
    quick: bool,
) -> Result:
    """Return a result with its bars. Raise ``ValueError`` for a benchmark without a judge."""
    # Convert to JSON and back, so that the bars follow from exactly the stored numbers.
    stored = json.loads(json.dumps(list(rows), allow_nan=False))
    bars = judge(benchmark, stored)
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
        "rows": stored,
    }


def judge(benchmark: str, rows: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """Return the bars for ``rows``. Raise ``ValueError`` for a benchmark without a judge."""
    if benchmark not in JUDGES:
        raise ValueError(f"no benchmark is called {benchmark!r}; there are {', '.join(JUDGES)}")
    return JUDGES[benchmark](rows)


def passed(bars: Sequence[Mapping[str, Any]]) -> bool:
    """Return whether there are bars and all of them are met."""
    return bool(bars) and all(bar["met"] is True for bar in bars)


def write(folder: Path, document: Result) -> Path:
    """Write a result atomically as ``BENCHMARK.json`` below ``folder``; return its path."""
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / f"{document['benchmark']}.json"
    temporary = path.with_suffix(".new")
    temporary.write_text(json.dumps(document, indent=1, sort_keys=True, allow_nan=False) + "\n", encoding="utf-8")
    temporary.replace(path)
    return path


def problems(document: Mapping[str, Any]) -> list[str]:
    """Return a message for each way in which a result differs from its rows, or is no result of a complete run."""
    wrong = []
    if not COMMIT.fullmatch(document["commit"]):
        wrong.append(f"commit {document['commit']!r} is not a git hash")
    if document["quick"]:
        wrong.append("a quick run is not a result")
    try:
        computed = json.loads(json.dumps(judge(document["benchmark"], document["rows"])))
    except (ArithmeticError, AttributeError, KeyError, TypeError, ValueError) as error:
        return [*wrong, f"the rows cannot be judged: {type(error).__name__}: {error}"]
    if [bar["name"] for bar in computed] != [bar["name"] for bar in document["bars"]]:
        return [*wrong, "the file has other bars than those that follow from its rows"]
    wrong += [
        f"{ours['name']}: {key} is {theirs.get(key)}, the rows give {ours[key]}"
        for ours, theirs in zip(computed, document["bars"], strict=True)
        for key in ours
        if not _same(ours[key], theirs.get(key))
    ]
    if document["passed"] is not passed(computed):
        wrong.append(f"passed is {document['passed']}, the bars give {passed(computed)}")
    return wrong


def _same(computed: Any, stored: Any) -> bool:
    """Return whether two values are equal.

    Floats may differ in the last digits, since another numpy may add in another order.
    """
    if isinstance(computed, float) and isinstance(stored, float | int) and not isinstance(stored, bool):
        return bool(np.isclose(computed, stored, rtol=1e-9, atol=1e-12))
    return type(computed) is type(stored) and bool(computed == stored)


def table(results: Sequence[Mapping[str, Any]]) -> str:
    """Return the bars of all results as a Markdown table, sorted by benchmark."""
    lines = ["| benchmark | bar | figure | limit | |", "|---|---|---|---|---|"]
    for document in sorted(results, key=lambda entry: str(entry["benchmark"])):
        for bar in document["bars"]:
            where = f"[{document['benchmark']}]({document['benchmark']}.json)"
            met = "met" if bar["met"] else "**missed**"
            limit = f"{bar['sense']} {_number(bar['limit'])}"
            lines.append(f"| {where} | {bar['name']} | {figure_text(bar)} | {limit} | {met} |")
    return "\n".join(lines)


def figure_text(bar: Mapping[str, Any]) -> str:
    """Return a bar's figure with its unit and, if it has one, its interval."""
    if bar["figure"] is None:
        return "none"
    text = f"{_number(bar['figure'])} {bar['unit']}".strip()
    if bar["low"] is not None and bar["high"] is not None:
        text += f" ({_number(bar['low'])} to {_number(bar['high'])})"
    return text


def _number(value: float) -> str:
    return f"{value:.4g}"


def read_all(folder: Path = FOLDER) -> list[Result]:
    """Return every result below ``folder``, sorted by file name."""
    paths = sorted(path for path in folder.glob("*.json") if path.name != SCHEMA.name)
    return [json.loads(path.read_text(encoding="utf-8")) for path in paths]


def refreshed(readme: str, results: Sequence[Mapping[str, Any]]) -> str:
    """Return the README's text with the table of ``results`` between its two marks."""
    before, _, rest = readme.partition(START)
    _, _, after = rest.partition(END)
    return f"{before}{START}\n{table(results)}\n{END}{after}"
