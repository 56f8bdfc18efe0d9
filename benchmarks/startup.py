"""The time that the plugin adds to a pytest run that does not use it: ``python -m benchmarks.startup [--quick]``.

Whole processes are timed in pairs with the plugin on and off (``-p no:hil``), in alternating order; the figure is the
median of the pairs' differences. Pytest's other plugins are disabled on both sides, since a library that one of them
imports would not be counted.
"""

from __future__ import annotations

import argparse
import os
import statistics
import subprocess
import sys
import tempfile
import time
from importlib.metadata import entry_points
from pathlib import Path

BAR = 0.030
"""Seconds that the plugin may add to the start of a run."""

PAIRS = 40
PAIRS_QUICK = 12


def main() -> int:
    """Measure, print, and return 1 if the bar is missed."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help=f"{PAIRS_QUICK} pairs instead of {PAIRS}")
    pairs = PAIRS_QUICK if parser.parse_args().quick else PAIRS
    with tempfile.TemporaryDirectory() as folder:
        Path(folder, "test_trivial.py").write_text("def test_trivial():\n    pass\n", encoding="utf-8")
        on, off = measure(folder, pairs)
    differences = [with_it - without for with_it, without in zip(on, off, strict=True)]
    figure = statistics.median(differences)
    print(f"{'pytest, one trivial test':<28}{'median':>10}{'fastest':>10}{'slowest':>10}   ({pairs} runs each)")
    for name, seconds in (("with the plugin", on), ("with -p no:hil", off), ("difference within a pair", differences)):
        cells = (statistics.median(seconds), min(seconds), max(seconds))
        print(f"{name:<28}" + "".join(f"{1000 * cell:>7.1f} ms" for cell in cells))
    print(f"startup: {1000 * figure:.1f} ms, at most {1000 * BAR:.0f} ms: {'held' if figure <= BAR else 'MISSED'}")
    return 0 if figure <= BAR else 1


def measure(folder: str, pairs: int) -> tuple[list[float], list[float]]:
    """Return the seconds of each run with and without the plugin, after one unmeasured run each to fill the caches."""
    plugins = {point.name for point in entry_points(group="pytest11")}
    if "hil" not in plugins:
        sys.exit("the plugin is not installed in this environment, so there is nothing to measure: pip install -e .")
    without_others = [option for name in sorted(plugins - {"hil"}) for option in ("-p", f"no:{name}")]
    sides = {"on": without_others, "off": [*without_others, "-p", "no:hil"]}
    times: dict[str, list[float]] = {"on": [], "off": []}
    for options in sides.values():
        one_run(folder, options)
    for pair in range(pairs):
        for side in ("on", "off") if pair % 2 == 0 else ("off", "on"):
            times[side].append(one_run(folder, sides[side]))
    return times["on"], times["off"]


def one_run(folder: str, options: list[str]) -> float:
    """Return the seconds from starting pytest in ``folder`` until its process has ended."""
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", *options]
    # Compiled files must be kept, or each run would compile the plugin again.
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"}
    start = time.perf_counter()
    subprocess.run(command, cwd=folder, env=environment, stdout=subprocess.DEVNULL, check=True)
    return time.perf_counter() - start


if __name__ == "__main__":
    sys.exit(main())
