"""Parity that names the cause: ``python -m benchmarks.parity [--quick] [--part P] [--out DIR]``.

Three parts. ``planted``: 40 faults planted in real graphs and 40 healthy engines (``planting.py``): all are detected,
36 named by their node or one that is fused with it, no healthy engine accused. Detected, and accused, is what a node
is found at fault in or, but for INT8, what failed parity: INT8 alone puts some of these random networks out of
tolerance, which no node is then blamed for. ``peer``: time and memory against Polygraphy (``peer.py``). ``holes``:
eight comparisons that must not pass (``holes.py``). ``--quick`` runs a part of it within a minute and is never a
result. Exit code 1 where a bar is missed.
"""

from __future__ import annotations

import argparse
import os
import platform
import sys
import tempfile
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Any

from benchmarks import results
from benchmarks.parity import engines, holes, peer, planting
from benchmarks.results.judging.parity import PARITY_PLANTED

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

SEED = 20261129
"""Of what is planted and where. On 7 the rules of the diagnosis were mended, so that it shows nothing."""

QUICK = 9
PARTS = ("planted", "peer", "holes")


def measure(part: str, seed: int, *, quick: bool) -> list[dict[str, Any]]:
    """The rows of one part, told as they come."""
    if part == "holes":
        return holes.rows()
    if part == "peer":
        with tempfile.TemporaryDirectory() as folder:
            return peer.rows(Path(folder), quick=quick)
    made = []
    for row in planting.rows(seed, QUICK if quick else PARITY_PLANTED, engines.Engine()):
        made.append({"part": "planted", **row})
        print(line(row), flush=True)
    return made


def line(row: Mapping[str, Any]) -> str:
    """What came of one engine."""
    seen = f"parity {row['parity']}, " + (f"{row['named']}: {row['cause']}" if row["accused"] else "no node at fault")
    mark = "exact" if row["exact"] else "near" if row["right"] else "WRONG" if row["planted"] else ""
    where = f"{row['graph']} {row['precision']}"
    planted = f"{row['number']:3} {row['kind']:<13} {where:<18} {row['planted'] or '':<14}"
    return f"{planted} -> {seen} {mark} {row['seconds']:.1f} s"


def table(rows: Sequence[Mapping[str, Any]]) -> list[str]:
    """The holes and the processes, theirs beside ours."""
    lines = [
        f"{row['hole']:<42} Polygraphy: {_word(row['theirs'])}  hil: {_word(row['ours'])}"
        for row in rows
        if row["part"] == "hole"
    ]
    for row in rows:
        if row["part"] == "peer":
            numbers = f"{row['seconds']:6.2f} s  {row['cpu']:6.2f} s of CPU  {row['peak'] / 2**20:6.1f} MiB"
            lines.append(f"{row['model']:<9} {row['side']:<7} {numbers}")
    return lines


def _word(passed: bool) -> str:  # noqa: FBT001 - one word for one value
    return "passes" if passed else "fails "


def versions() -> dict[str, str]:
    """What was measured with, and on which machine."""
    packages = {"onnxruntime": "onnxruntime", "onnx": "onnx", "polygraphy": "polygraphy", "pytest-hil": "pytest-hil"}
    return {
        "machine": f"{platform.machine()}, {os.cpu_count()} processors",
        "host python": platform.python_version(),
        "host numpy": version("numpy"),
        **{name: version(package) for name, package in packages.items()},
    }


def main() -> int:
    """Measures, prints the bars, and keeps each part's result in ``--out``; the last line holds figure and bar."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="a tenth of it, never a result")
    parser.add_argument("--part", choices=PARTS, action="append", help="only this; may be given again")
    parser.add_argument("--seed", type=int, default=SEED, help="of what is planted (default: %(default)s)")
    parser.add_argument("--out", type=Path, help="the folder to write parity-PART.json to")
    arguments = parser.parse_args()
    os.environ["HIL_COMMIT"] = results.commit()  # as it is at the start
    bars = []
    for part in arguments.part or PARTS:
        rows = measure(part, arguments.seed, quick=arguments.quick)
        print("\n".join(table(rows)))
        command = ["python", "-m", "benchmarks.parity", "--part", part]
        command += ["--seed", str(arguments.seed)] if part == "planted" else []
        made = results.result(f"parity-{part}", rows, command=command, versions=versions(), quick=arguments.quick)
        bars += made["bars"]
        if arguments.out is not None and not arguments.quick:
            print(results.write(arguments.out, made))
    for bar in bars:
        verdict = "met" if bar["met"] else "missed"
        print(f"{bar['name']}: {results.figure_text(bar)}; bar: {bar['sense']} {bar['limit']:g}: {verdict}")
    if arguments.quick:
        print(f"parity: {len(bars)} bars on a tenth of the cases, not enough to judge; bar: none with --quick")
        return 0
    missed = sum(not bar["met"] for bar in bars)
    print(f"parity: {missed} of {len(bars)} bars missed; bar: none")
    return 1 if missed else 0


if __name__ == "__main__":
    sys.exit(main())
