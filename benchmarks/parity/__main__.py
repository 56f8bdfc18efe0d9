"""Parity that names the cause: ``python -m benchmarks.parity [--quick] [--part P] [--out DIR]``.

Four parts. ``planted``: 40 faults planted in real graphs, and 40 healthy engines (``planting.py``). All faults must be
detected, 36 must be named by their node or one that is fused with it, and no healthy engine may be accused. An engine
counts as detected or accused if the diagnosis names a node or, except for INT8, if parity fails: with random weights
INT8 alone exceeds the tolerance in some networks, and then no node is blamed. ``third-party``: the same in networks
that other projects ship (``third_party.py``). There an undamaged engine counts as healthy only if it changes at most
2 % of the answers to 256 fresh samples, as decoded by ``benchmarks.accuracy``. An undamaged engine that changes more is
shown as ``unsound`` and counts neither as healthy nor as accused; another one is drawn. ``peer``: time and memory
compared with Polygraphy (``peer.py``). ``holes``: eight comparisons that must not pass (``holes.py``). ``--quick`` runs
fewer cases within a minute and is not a result. A part that plants faults may take an hour: ``--jobs N`` uses N
processes, and ``--keep FILE`` continues a run that was stopped. The exit code is 1 if a bar is missed.
"""

from __future__ import annotations

import argparse
import os
import platform
import sys
import tempfile
from collections import Counter
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Any

from benchmarks import results
from benchmarks.parity import holes, peer, planting, third_party
from benchmarks.parity.kept import Kept
from benchmarks.results.judging.parity import PARITY_PLANTED

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

SEED = 20261129
"""Decides the faults and where they are planted. Seed 7 was used to fix the diagnosis, so it proves nothing."""

QUICK = {"planted": 9, "third-party": 2}
"""Faults, and as many healthy engines, with ``--quick``; a network of another project takes longer."""
PARTS = ("planted", "third-party", "peer", "holes")
GRAPHS = {"planted": planting.GRAPHS, "third-party": third_party.NAMES}


def measure(part: str, seed: int, *, quick: bool, keep: Path | None = None, jobs: int = 1) -> list[dict[str, Any]]:
    """Return the rows of one part. Rows of planted faults that are already in the file ``keep`` are read from it."""
    if part == "holes":
        return holes.rows()
    if part == "peer":
        with tempfile.TemporaryDirectory() as folder:
            return peer.rows(Path(folder), quick=quick)
    count = QUICK[part] if quick else PARITY_PLANTED
    made_with = {"part": part, "seed": seed, "count": count, "commit": results.commit()}
    kept = Kept(keep, made_with) if keep is not None else None
    made: list[dict[str, Any]] = list(kept.rows) if kept is not None else []
    for row in planting.rows(seed, count, GRAPHS[part], made, jobs):
        made.append({"part": part, **row})
        if kept is not None:
            kept.add(made[-1])
        print(line(row), flush=True)
    return sorted(made, key=lambda row: (row["kind"] == planting.HEALTHY, row["number"]))


def line(row: Mapping[str, Any]) -> str:
    """Return the result of one engine as a line."""
    outcome = f"parity {row['parity']}, " + (
        f"{row['named']}: {row['cause']}" if row["accused"] else "no node at fault"
    )
    mark = "exact" if row["exact"] else "near" if row["right"] else "WRONG" if row["planted"] else ""
    where = f"{row['graph']} {row['precision']}"
    where += "".join(f" (unsound, drawn again: {one})" for one in row["unsound"])
    planted = f"{row['number']:3} {row['kind']:<13} {where:<18} {row['planted'] or '':<14}"
    return f"{planted} -> {outcome} {mark} {row['seconds']:.1f} s"


def table(rows: Sequence[Mapping[str, Any]]) -> list[str]:
    """Return a line for each hole and for each process that was run, with Polygraphy's result or ours."""
    lines = [
        f"{row['hole']:<42} Polygraphy: {_word(row['theirs'])}  hil: {_word(row['ours'])}"
        for row in rows
        if row["part"] == "hole"
    ]
    for row in rows:
        if row["part"] == "peer":
            numbers = f"{row['seconds']:6.2f} s  {row['cpu']:6.2f} s of CPU  {row['peak'] / 2**20:6.1f} MiB"
            lines.append(f"{row['model']:<9} {row['side']:<7} {numbers}")
    unsound = Counter(one.split(":")[0] for row in rows for one in row.get("unsound", ()))
    if unsound:
        counts = ", ".join(f"{name} {count}" for name, count in sorted(unsound.items()))
        lines.append(f"unsound without a fault, drawn again: {unsound.total()} engines ({counts})")
    return lines


def _word(passed: bool) -> str:  # noqa: FBT001 - the value that is shown
    return "passes" if passed else "fails "


def versions() -> dict[str, str]:
    """Return the versions of the software, and the machine."""
    packages = {"onnxruntime": "onnxruntime", "onnx": "onnx", "polygraphy": "polygraphy", "pytest-hil": "pytest-hil"}
    return {
        "machine": f"{platform.machine()}, {os.cpu_count()} processors",
        "host python": platform.python_version(),
        "host numpy": version("numpy"),
        **{name: version(package) for name, package in packages.items()},
    }


def main() -> int:
    """Measure, print the bars, and write each part's result to ``--out``; the last line has figure and bar."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="fewer cases; not a result")
    parser.add_argument("--part", choices=PARTS, action="append", help="only this part; may be repeated")
    parser.add_argument("--seed", type=int, default=SEED, help="decides what is planted (default: %(default)s)")
    parser.add_argument("--keep", type=Path, help="a file that stores the rows of one part; a later run continues it")
    parser.add_argument("--jobs", type=int, default=1, help="processes that plant faults (default: %(default)s)")
    parser.add_argument("--out", type=Path, help="the folder to write parity-PART.json to")
    arguments = parser.parse_args()
    if arguments.keep is not None and arguments.part not in ([name] for name in GRAPHS):
        parser.error(f"--keep needs exactly one --part that plants faults: {' or '.join(GRAPHS)}")
    os.environ["HIL_COMMIT"] = results.commit()  # as it is at the start
    bars = []
    for part in arguments.part or PARTS:
        rows = measure(part, arguments.seed, quick=arguments.quick, keep=arguments.keep, jobs=arguments.jobs)
        print("\n".join(table(rows)))
        command = ["python", "-m", "benchmarks.parity", "--part", part]
        command += ["--seed", str(arguments.seed)] if part in GRAPHS else []
        made = results.result(f"parity-{part}", rows, command=command, versions=versions(), quick=arguments.quick)
        bars += made["bars"]
        if arguments.out is not None and not arguments.quick:
            print(results.write(arguments.out, made))
    for bar in bars:
        verdict = "met" if bar["met"] else "missed"
        print(f"{bar['name']}: {results.figure_text(bar)}; bar: {bar['sense']} {bar['limit']:g}: {verdict}")
    if arguments.quick:
        print(f"parity: {len(bars)} bars on fewer cases, not enough to judge; bar: none with --quick")
        return 0
    missed = sum(not bar["met"] for bar in bars)
    print(f"parity: {missed} of {len(bars)} bars missed; bar: none")
    return 1 if missed else 0


if __name__ == "__main__":
    sys.exit(main())
