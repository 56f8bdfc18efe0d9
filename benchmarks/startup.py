"""What the plugin costs a pytest run that does not use it: ``python -m benchmarks.startup [--quick]``.

Whole processes, plugin on and off (``-p no:hil``) in pairs, first one first and then the other; the figure is the
median of the pairs' differences. Pytest's other plugins are switched off on both sides, since a library that one of
them has imported already would come for nothing.
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
"""Seconds that a run may start later for the plugin."""

PAIRS = 40
PAIRS_QUICK = 12


def main() -> int:
    """Measures, prints, and returns 1 where the bar is missed."""
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
    """Seconds of each run with the plugin and without, after one unmeasured run each that fills the caches."""
    plugins = {point.name for point in entry_points(group="pytest11")}
    if "hil" not in plugins:
        sys.exit("pytest does not see the plugin in this environment, so there is nothing to measure: pip install -e .")
    without_others = [option for name in sorted(plugins - {"hil"}) for option in ("-p", f"no:{name}")]
    sides = {"on": without_others, "off": [*without_others, "-p", "no:hil"]}
    taken: dict[str, list[float]] = {"on": [], "off": []}
    for options in sides.values():
        one_run(folder, options)
    for pair in range(pairs):
        for side in ("on", "off") if pair % 2 == 0 else ("off", "on"):
            taken[side].append(one_run(folder, sides[side]))
    return taken["on"], taken["off"]


def one_run(folder: str, options: list[str]) -> float:
    """Seconds from starting pytest in ``folder`` until its process has ended."""
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", *options]
    # Compiled files must be kept, or each run would compile the plugin anew.
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"}
    start = time.perf_counter()
    subprocess.run(command, cwd=folder, env=environment, stdout=subprocess.DEVNULL, check=True)
    return time.perf_counter() - start


if __name__ == "__main__":
    sys.exit(main())
