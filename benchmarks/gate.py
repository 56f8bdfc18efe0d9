"""The time to read and judge a report: ``python -m benchmarks.gate [--quick]``.

A fleet's report (40 models in 3 precisions) is read and judged by its own policy, alternating with ``json.load`` of the
same file, the least that any reader must do. A third side also judges the report by a second policy, as ``hil gate
--policy`` does. Imports are not timed. The figure is the median time of reading the report and judging it by its own
policy.
"""

from __future__ import annotations

import argparse
import json
import statistics
import sys
import tempfile
import time
from datetime import datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING

from hil.config.spec import GateSpec
from hil.gate.demands import Circumstances
from hil.gate.gate import judge, open_report
from hil.report.write_report import to_json
from tests.report import sample

if TYPE_CHECKING:
    from collections.abc import Callable

BAR = 0.200
"""Seconds; shorter delays between a command and its answer are not noticed."""
MODELS = 40
TURNS, TURNS_QUICK = 60, 15
NOW = Circumstances(datetime.fromisoformat("2026-11-22T10:00:42+00:00") + timedelta(hours=1))
POLICY = GateSpec(require=("*",), evidence="host", max_age="7 days", detects=0.5)


def main() -> int:
    """Measure, print, and return 1 if the bar is missed."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help=f"{TURNS_QUICK} turns instead of {TURNS}")
    turns = TURNS_QUICK if parser.parse_args().quick else TURNS
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "report.json"
        report = sample.large(MODELS)
        path.write_text(to_json(report), encoding="utf-8")
        sides = {
            "read and judge": lambda: open_report(path),
            "json.load": lambda: _plain(path),
            "another policy too": lambda: _gate(path),
        }
        seconds = measure(sides, turns)
        size = path.stat().st_size
    figure, peer = (statistics.median(seconds[name]) for name in ("read and judge", "json.load"))
    print(f"{MODELS} models × 3 precisions: {len(report.checks)} rows, {size / 1e6:.1f} MB, {turns} turns")
    print(f"{'':<20}{'median':>11}{'fastest':>11}{'slowest':>11}")
    for name, times in seconds.items():
        cells = (statistics.median(times), min(times), max(times))
        print(f"{name:<20}" + "".join(f"{1000 * cell:>8.1f} ms" for cell in cells))
    print(f"ratio to json.load: {figure / peer:.1f}")
    print(f"gate: {1000 * figure:.1f} ms, at most {1000 * BAR:.0f} ms: {'held' if figure <= BAR else 'MISSED'}")
    return 0 if figure <= BAR else 1


def measure(sides: dict[str, Callable[[], object]], turns: int) -> dict[str, list[float]]:
    """Return the seconds of each side in each turn; the sides alternate, after one unmeasured turn."""
    times: dict[str, list[float]] = {name: [] for name in sides}
    for turn in range(turns + 1):
        for name, once in sides.items():
            start = time.perf_counter()
            once()
            if turn:
                times[name].append(time.perf_counter() - start)
    return times


def _gate(path: Path) -> None:
    decision = judge(open_report(path), POLICY, around=NOW)
    if decision.status != "PASSED":
        raise AssertionError(decision.reasons)


def _plain(path: Path) -> object:
    with path.open("rb") as file:
        return json.load(file)


if __name__ == "__main__":
    sys.exit(main())
