"""Several boards instead of one: ``python -m benchmarks.pool [--quick] [--part NAME] [--out FOLDER]``.

speed: a run on four boards compared with one on one board. The boards are targets of this machine whose runtime only
waits (``waiting_runtime.py``), so that this machine's processors do not limit the speed. Bar: at least 3.5 times as
fast, from the start of pytest to its end. The bar of ``--quick`` is 1.5 times: its checks take only seconds, and
starting four workers on two processors also takes seconds.

cost: what a pool of one board adds to a run on that board, without pytest-xdist and with ``-n 1``. The two alternate.
Bar: at most 2 s.

random: 50 runs on 20 simulated boards of a real labgrid coordinator, while places are kicked, exporters restart, and
runs and workers are killed (``random_runs.py``). Bars: no board used by two runs at once, no place still held at the
end, no row lost or doubled.

main: the bundled main job on a pool of four targets of this machine with ``-n 4`` beside the main job on one; it is
left out with ``--quick``. Bars: no row lost or doubled, no model split, the same verdicts of all rows that are not
timed. Both processors are shared by the workers, so its times show nothing about boards.

The exit code is 1 if a bar is missed. ``--out FOLDER`` writes the result of each part as ``pool-PART.json``.
"""

from __future__ import annotations

import argparse
import os
import platform
import sys
import tempfile
import time
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Any

from benchmarks import results
from benchmarks.pool import project, random_runs
from benchmarks.results.judging import pool as bars

if TYPE_CHECKING:
    from collections.abc import Callable

    Rows = list[dict[str, Any]]

MODELS, SECONDS = 8, 150.0
"""Number of models of the part ``speed``, and the seconds for which the latency of each is timed."""

QUICK_MODELS, QUICK_SECONDS, QUICK_SPEED_UP = 4, 2.0, 1.5
CHECKS = ("contract.signature", "latency.p50")
CHOSEN = ("-k", "signature or p50")


def notify(line: str) -> None:
    """Print a line of progress."""
    print(f"pool: {line}", flush=True)


def speed(folder: Path, *, quick: bool) -> Rows:
    """Return one row for a run on one board, and one for a run on all."""
    models, seconds = (QUICK_MODELS, QUICK_SECONDS) if quick else (MODELS, SECONDS)
    rows = []
    for boards, options in ((1, ("--target=b0",)), (bars.BOARDS, (f"--target={project.POOL}", "-n", str(bars.BOARDS)))):
        place = folder / f"speed-{boards}"
        project.write(place, models, bars.BOARDS, seconds)
        taken, code, report = project.run(place, *CHOSEN, *options)
        passed, used = project.judged(report, CHECKS)
        row = {"boards": boards, "models": models, "timed": seconds, "seconds": taken, "code": code}
        rows.append({**row, "passed": passed, "used": used, "rows": models * len(CHECKS)})
        notify(f"{boards} boards: {taken:.1f} s, {passed} of {models * len(CHECKS)} rows passed")
    return rows


def cost(folder: Path, *, quick: bool) -> Rows:
    """Return a row for each pair of runs."""
    project.write(folder / "cost", 1, 1, 0.5)
    rows = []
    sides = {"board": "--target=b0", "pool": f"--target={project.POOL}"}
    ways: dict[str, tuple[str, ...]] = {"without pytest-xdist": (), "with -n 1": ("-n", "1")}
    if quick:
        del ways["without pytest-xdist"]
    for way, options in ways.items():
        for pair in range(1 if quick else bars.PAIRS + 1):
            taken: dict[str, float] = {}
            codes = set()
            for side in sides if pair % 2 == 0 else reversed(sides):
                taken[side], code, report = project.run(folder / "cost", "-k", "signature", sides[side], *options)
                codes.add((code, project.judged(report, ["contract.signature"])[0]))
            rows.append({"way": way, **taken, "passed": len(codes) == 1 and codes.pop()[1] == 1})
            if pair == 0 and not quick:
                rows.pop()  # it fills the caches
            else:
                notify(f"{way}: {taken['pool'] - taken['board']:+.2f} s of {taken['board']:.1f} s")
    return rows


def disturbed(folder: Path, *, quick: bool) -> Rows:
    """Return a row for each run on the disturbed lab."""
    folder.mkdir()
    counts = (4, 3, 3) if quick else (bars.LAB_BOARDS, bars.RUNS, 8)
    return random_runs.measure(folder, counts, int(time.time()), notify)


def main_job(folder: Path, *, quick: bool) -> Rows:
    """Return a row for each row of the main job's report, on one target and on the pool."""
    if quick:
        raise ValueError("the part main has no quick form")
    rows: Rows = []
    for side, options in (("one", ("--target=cpu",)), ("pool", (f"--target={project.POOL}", "-n", str(bars.BOARDS)))):
        place = folder / side
        project.copy_main_job(place, bars.BOARDS)
        taken, code, report = project.run(place, *options)
        kept = ("id", "model", "precision", "scenario", "verdict", "board")
        rows += [{"side": side, "code": code} | {key: row[key] for key in kept} for row in report["checks"]]
        notify(f"the main job on {side}: {len(report['checks'])} rows, exit code {code}, {taken:.1f} s")
    return rows


PARTS: dict[str, Callable[..., Rows]] = {"speed": speed, "cost": cost, "random": disturbed, "main": main_job}


def shown(part: str, rows: Rows, *, quick: bool) -> bool:
    """Print the bars of a part, and return whether they are met.

    In a quick run, bars that need more rows are not required.
    """
    good = True
    for bar in results.judge(f"pool-{part}", rows):
        figure, limit, met = bar["figure"], bar["limit"], bar["met"]
        if quick and part == "speed":
            limit = QUICK_SPEED_UP
            met = figure is not None and figure >= limit
        # Few pairs have no figure, and a few runs do not reach the counts.
        too_few = quick and ((part == "cost" and figure is None) or (part == "random" and bar["sense"] == "at least"))
        good = good and (met or too_few)
        word = "too little was measured" if too_few else "held" if met else "MISSED"
        notify(f"{bar['name']}: {results.figure_text(bar)}, {bar['sense']} {limit:g}: {word}")
    return good


def main() -> int:
    """Measure, print the bars, and return 1 if one is missed."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="within a minute")
    parser.add_argument("--part", choices=PARTS, action="append", help="what to measure (default: all)")
    parser.add_argument("--out", type=Path, metavar="FOLDER", help="where to write the results")
    arguments = parser.parse_args()
    if arguments.out is not None:
        if arguments.quick:
            parser.error("only a complete run is stored: omit --quick or --out")
        os.environ["HIL_COMMIT"] = results.commit()  # as it is at the start
    named = {name: version(name) for name in ("labgrid", "pytest", "pytest-hil", "pytest-xdist")}
    versions = {"host python": platform.python_version(), **named}
    good = True
    for part in arguments.part or PARTS:
        if part == "main" and arguments.quick:
            continue
        with tempfile.TemporaryDirectory() as folder:
            rows = PARTS[part](Path(folder) / part, quick=arguments.quick)
        good = shown(part, rows, quick=arguments.quick) and good
        if arguments.out is not None:
            command = ["python", "-m", "benchmarks.pool", "--part", part, "--out", arguments.out.name]
            made = results.result(f"pool-{part}", rows, command=command, versions=versions, quick=False)
            print(results.write(arguments.out, made))
    return 0 if good else 1


if __name__ == "__main__":
    sys.exit(main())
