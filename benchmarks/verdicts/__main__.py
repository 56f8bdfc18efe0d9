"""How often verdicts are wrong, by seeded simulation of latencies whose truth is known.

Each cell is a rate over many trials with Clopper and Pearson's bounds, each one-sided at 99 %, beside its bar. A bar is
missed only where the rate is significantly beyond it, so that few trials (``--quick``) miss no bar by bad luck, and
show less. Exit code 1 where one is missed.
"""

from __future__ import annotations

import argparse
import platform
import sys
import time
from importlib.metadata import version
from pathlib import Path

from benchmarks import results
from benchmarks.verdicts import comparison, limits, percentile, table

TRIALS, QUICK = 2000, 40
SEED = 20261124
BLOCKS = {"percentile": percentile.cells, "limits": limits.cells, "comparison": comparison.cells}


def options(arguments: list[str] | None = None) -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.verdicts", description=__doc__)
    parser.add_argument("--quick", action="store_true", help=f"{QUICK} trials a cell instead of {TRIALS:,}")
    parser.add_argument("--seed", type=int, default=SEED, help="of all random numbers (default: %(default)s)")
    parser.add_argument("--only", choices=BLOCKS, action="append", help="this block alone; may be given again")
    parser.add_argument("--json", type=Path, metavar="FOLDER", help="where to write the results, one file a block")
    return parser.parse_args(arguments)


def main(arguments: list[str] | None = None) -> int:
    """Prints the table as it grows; the last line is figure and bar."""
    given = options(arguments)
    trials = QUICK if given.quick else TRIALS
    cells: list[table.Cell] = []
    for name in given.only or BLOCKS:
        began = time.monotonic()
        found = BLOCKS[name](trials, given.seed)
        print(f"{name}: {trials:,} trials a cell, seed {given.seed}, {time.monotonic() - began:.0f} s\n")
        print(table.text(found), "\n", flush=True)
        cells += found
        if given.json is not None:
            _write(given.json, name, found, given)
    print(table.last_line(cells))
    return 0 if table.passed(cells) else 1


def _write(folder: Path, name: str, cells: list[table.Cell], given: argparse.Namespace) -> None:
    versions = {
        "host python": platform.python_version(),
        **{one: version(one) for one in ("numpy", "scipy", "pytest-hil")},
    }
    command = ["python", "-m", "benchmarks.verdicts", "--only", name, "--seed", str(given.seed)]
    made = results.result(
        f"verdicts-{name}", table.as_rows(cells), command=command, versions=versions, quick=given.quick
    )
    results.write(folder, made)


if __name__ == "__main__":
    sys.exit(main())
