"""How often verdicts are wrong, by seeded simulation of latencies whose true percentiles are known.

Each cell is a rate over many trials with Clopper and Pearson's bounds, each one-sided at 99 %, and its bar. A bar is
missed only if the rate is significantly beyond it, so that few trials (``--quick``) rarely miss one by chance; they
also prove less. The exit code is 1 if a bar is missed.
"""

from __future__ import annotations

import argparse
import platform
import sys
import time
from importlib.metadata import version
from pathlib import Path

from benchmarks import results
from benchmarks.verdicts import comparison, limits, peers, percentile, table

QUICK = 20
SEED = 20261124
BLOCKS = {
    "percentile": (percentile.cells, table.text),
    "limits": (limits.cells, table.text),
    "comparison": (comparison.cells, table.text),
    "peers": (peers.cells, peers.text),
}


def options(arguments: list[str] | None = None) -> argparse.Namespace:
    """Return the parsed command line."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.verdicts", description=__doc__)
    parser.add_argument("--quick", action="store_true", help=f"{QUICK} trials a cell instead of {table.TRIALS:,}")
    parser.add_argument("--seed", type=int, default=SEED, help="the seed of all random numbers (default: %(default)s)")
    parser.add_argument("--only", choices=BLOCKS, action="append", help="only this block; may be repeated")
    parser.add_argument("--out", type=Path, metavar="DIR", help="the folder to write verdicts-BLOCK.json to")
    return parser.parse_args(arguments)


def main(arguments: list[str] | None = None) -> int:
    """Print the table of each block; the last line has figure and bar."""
    parsed = options(arguments)
    trials = QUICK if parsed.quick else table.TRIALS
    cells: list[table.Cell] = []
    for name in parsed.only or BLOCKS:
        began = time.monotonic()
        simulate, as_text = BLOCKS[name]
        block_cells = simulate(trials, parsed.seed)
        print(f"{name}: {trials:,} trials a cell, seed {parsed.seed}, {time.monotonic() - began:.0f} s\n")
        print(as_text(block_cells), "\n", flush=True)
        cells += block_cells
        if parsed.out is not None and not parsed.quick:
            print(_written(parsed.out, name, block_cells, parsed.seed), "\n")
    print(table.last_line(cells))
    return 0 if table.passed(cells) else 1


def _written(folder: Path, name: str, cells: list[table.Cell], seed: int) -> Path:
    packages = {f"host {one}": version(one) for one in ("numpy", "scipy")}
    versions = {"host python": platform.python_version(), **packages, "pytest-hil": version("pytest-hil")}
    command = ["python", "-m", "benchmarks.verdicts", "--only", name, "--seed", str(seed)]
    block, rows = f"verdicts-{name}", table.as_rows(cells)
    return results.write(folder, results.result(block, rows, command=command, versions=versions, quick=False))


if __name__ == "__main__":
    sys.exit(main())
