"""Sequences of recurrent models: ``python -m benchmarks.sequences [--quick] [--part P] [--seed N]``.

``planted``: 40 faults planted in recurrent models, in how their states are carried or in the graph of a step, and 200
sound variants, as exporters, optimizers and precisions make them (``planting.py``), judged by all four checks of
sequences (``judging.py``). A fault is detected if a check does not pass, which stops a deployment; a variant is accused
if one fails. All faults must be detected, 36 of them named, and no variant accused; variants that are inconclusive are
counted and shown. ``cost``: the seconds of a step through the agent beside a bare loop (``cost.py``). ``speech``: two
real models over minutes of audio (``speech.py``), which must pass in FP32; what INT8 costs them is shown. It is left
out with ``--quick``. The seed is a new one each time. ``--quick`` runs fewer cases within a minute and is not a result:
the bar of the names is missed only where chance does not explain the figure. Exit code 1 if a bar is missed.
"""

from __future__ import annotations

import argparse
import os
import sys
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any

from benchmarks.results import figure_text
from benchmarks.results.judging.bars import CONFIDENCE, bar
from benchmarks.sequences import cost, judging, planting
from benchmarks.sequences.faults import FAULTS
from benchmarks.verdicts.table import bounds

if TYPE_CHECKING:
    from collections.abc import Sequence

    from benchmarks.results.judging.bars import Bar

    Rows = Sequence[dict[str, Any]]

PLANTED, SOUND, NAMED = 40, 200, 0.9
QUICK_PLANTED, QUICK_SOUND = 8, 8
PARTS = ("planted", "cost", "speech")


def planted(folder: Path, seed: int, *, quick: bool) -> list[dict[str, Any]]:
    """Return the rows of all cases, and print each when it is complete; kinds of a quick run start at a random one."""
    first = seed % len(FAULTS) if quick else 0
    faults = range(first, first + (QUICK_PLANTED if quick else PLANTED))
    cases = [planting.draw_fault(seed, number) for number in faults]
    cases += [planting.draw_sound(seed, first + number) for number in range(QUICK_SOUND if quick else SOUND)]
    made = []
    for row in judging.rows(folder, cases):
        print(line(row), flush=True)
        made.append(row)
    return made


def line(row: dict[str, Any]) -> str:
    """Return the result of one case as a line, with the reasons where it is wrong."""
    verdicts = ", ".join(f"{check.partition('.')[2]} {one}" for check, one in row["verdicts"].items())
    text = f"{row['number']:3} {row['model']:<7} {row['what'] or row['kind']} ({row['precision']}): "
    if row["part"] == "fault":
        wrong = "" if row["right"] else " NOT DETECTED" if row["passed"] else " NOT NAMED"
        text += f"{row['named'] or 'no cause'}{wrong}"
    else:
        wrong = " ACCUSED" if row["failed"] else ""
        text += ("passed" if row["passed"] else "inconclusive" if not wrong else "failed") + wrong
    if wrong or (row["part"] == "sound" and not row["passed"]):
        text += f"\n    {verdicts}" + "".join(f"\n    {check}: {one}" for check, one in row["reasons"].items())
    return text


def judge(rows: Rows, *, quick: bool) -> list[Bar]:
    """Return the bars of the planted faults and of the sound variants; those that lack cases have no figure."""
    faults, sound = ([row for row in rows if row["part"] == part] for part in ("fault", "sound"))
    complete = quick or (len(faults) == PLANTED and len(sound) == SOUND)
    detected, right = (sum(bool(test(row)) for row in faults) for test in (_is_detected, _is_right))
    accused = sum(row["failed"] for row in sound)
    low, high = bounds(right, len(faults), CONFIDENCE)
    share = right / len(faults) if complete else None
    named = bar("planted faults whose cause was named", share, NAMED, at_least=True, low=low, high=high)
    named["met"] = named["met"] or (quick and high >= NAMED)
    limits = bounds(accused, len(sound), CONFIDENCE)
    return [
        bar("planted faults that were detected", detected / len(faults) if complete else None, 1.0, at_least=True),
        named,
        bar("sound variants that were accused", accused if complete else None, 0)
        | {"name": f"sound variants that were accused (of {len(sound)}; the rate is at most {limits[1]:.1%})"},
    ]


def _is_detected(row: dict[str, Any]) -> bool:
    return not row["passed"]


def _is_right(row: dict[str, Any]) -> bool:
    return bool(row["right"]) and not row["passed"]


def costs(rows: Rows) -> list[Bar]:
    """Return the bar of each model's cost of a step."""
    made = []
    for size in cost.SIZES:
        seconds, limit = cost.figure([row for row in rows if row["size"] == size])
        made.append(bar(f"cost of a step of the {size} model", 1e6 * seconds, 1e6 * limit, unit="µs"))
    return made


def heard(rows: Rows) -> list[Bar]:
    """Print the rows of the real models, and return the bar of those in FP32; it has no figure if there are none."""
    for row in rows:
        print(
            f"{row['model']} {row['precision']} {row['check']}, {row['steps']} steps: {row['verdict']}: {row['reason']}"
        )
    exact = [row for row in rows if row["precision"] == "fp32"]
    wrong = sum(row["verdict"] != "passed" for row in exact) if exact else None
    return [bar("checks of real models in FP32 that did not pass", wrong, 0)]


def main() -> int:
    """Print the rows and the bars; the last line has figure and bar."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="fewer cases; not a result")
    parser.add_argument("--part", choices=PARTS, action="append", help="only this part; may be repeated")
    parser.add_argument("--seed", type=int, default=None, help="decides what is planted (default: a new one)")
    options = parser.parse_args()
    seed = int.from_bytes(os.urandom(3), "big") if options.seed is None else options.seed
    print(f"seed {seed}", flush=True)
    bars = []
    with tempfile.TemporaryDirectory(prefix="sequences-") as name:
        if "planted" in (options.part or PARTS):
            rows = planted(Path(name), seed, quick=options.quick)
            bars += judge(rows, quick=options.quick)
            sound = [row for row in rows if row["part"] == "sound"]
            open_ = sum(not row["passed"] and not row["failed"] for row in sound)
            print(f"sound variants that were inconclusive: {open_} of {len(sound)}; bar: none")
        if "cost" in (options.part or PARTS):
            bars += costs(list(cost.rows(Path(name), quick=options.quick)))
        if "speech" in (options.part or PARTS) and not options.quick:
            from benchmarks.sequences import speech  # it needs what the tests of real models need

            bars += heard(list(speech.rows(Path(name))))
    for one in bars:
        verdict = "met" if one["met"] else "missed"
        print(f"{one['name']}: {figure_text(one)}; bar: {one['sense']} {one['limit']:.4g}: {verdict}")
    missed = sum(not one["met"] for one in bars)
    print(f"sequences: {missed} of {len(bars)} bars missed; bar: none")
    return 1 if missed else 0


if __name__ == "__main__":
    sys.exit(main())
