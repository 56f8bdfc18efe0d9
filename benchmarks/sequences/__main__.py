"""Sequences of recurrent models: ``python -m benchmarks.sequences [--quick] [--part P] [--seed N] [--out DIR]``.

``planted``: 40 faults planted in recurrent models, in how their states are carried or in the graph of a step, and 200
sound variants, as exporters, optimizers and precisions make them (``planting.py``), judged by all four checks of
sequences (``judging.py``). A fault is detected if a check does not pass, which stops a deployment; a variant is accused
if one fails. All faults must be detected, 36 of them named, and no variant accused; variants that are inconclusive are
counted and shown. ``cost``: the seconds of a step through the agent beside a bare loop (``cost.py``). ``speech``: real
models over minutes of audio (``speech.py``), which must pass in FP32; where an INT8 check fails, a cause must be named.
This part is left out with ``--quick``. By default each run uses a new seed. ``--out`` writes the result of each part,
such as ``sequences-planted.json``. ``--quick`` runs fewer cases within a minute and is not a result; its bar of named
faults is missed only if chance does not explain the figure. The exit code is 1 if a bar is missed.
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
from benchmarks.results import figure_text
from benchmarks.results.judging import sequences as bars_of
from benchmarks.results.judging.sequences import PLANTED, SOUND
from benchmarks.sequences import cost, judging, planting
from benchmarks.sequences.faults import FAULTS

if TYPE_CHECKING:
    from collections.abc import Sequence

    Rows = Sequence[dict[str, Any]]

QUICK_PLANTED, QUICK_SOUND = 8, 8
PARTS = ("planted", "cost", "speech")


def planted(folder: Path, seed: int, *, quick: bool) -> list[dict[str, Any]]:
    """Return the rows of all cases, and print each when it is complete.

    A quick run has fewer cases, and ``seed`` determines the first kind of fault.
    """
    first = seed % len(FAULTS) if quick else 0
    faults, sound = (
        range(first, first + count) for count in ((QUICK_PLANTED, QUICK_SOUND) if quick else (PLANTED, SOUND))
    )
    cases = [planting.draw_fault(seed, number) for number in faults]
    cases += [planting.draw_sound(seed, number) for number in sound]
    made = []
    for number, row in zip((*faults, *sound), judging.rows(folder, cases), strict=True):
        row |= {"number": number, "seed": seed}
        print(line(row), flush=True)
        made.append(row)
    return made


def line(row: dict[str, Any]) -> str:
    """Return the result of one case as a line, with the reasons if it is wrong or a sound case did not pass."""
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


def print_speech(rows: Rows) -> None:
    """Print the rows of the part ``speech``."""
    for row in rows:
        print(
            f"{row['model']} {row['precision']} {row['check']}, {row['steps']} steps: {row['verdict']}: {row['reason']}"
        )


def main() -> int:
    """Print the rows and the bars; the last line has figure and bar."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="fewer cases; not a result")
    parser.add_argument("--part", choices=PARTS, action="append", help="only this part; may be repeated")
    parser.add_argument("--seed", type=int, default=None, help="decides what is planted (default: a new one)")
    parser.add_argument("--out", metavar="DIR", type=Path, help="the folder to write the results of the parts to")
    options = parser.parse_args()
    seed = int.from_bytes(os.urandom(3), "big") if options.seed is None else options.seed
    print(f"seed {seed}", flush=True)
    rows: dict[str, list[dict[str, Any]]] = {}
    with tempfile.TemporaryDirectory(prefix="sequences-") as name:
        if "planted" in (options.part or PARTS):
            rows["planted"] = planted(Path(name), seed, quick=options.quick)
            sound = [row for row in rows["planted"] if row["part"] == "sound"]
            open_ = sum(not row["passed"] and not row["failed"] for row in sound)
            print(f"sound variants that were inconclusive: {open_} of {len(sound)}; bar: none")
        if "cost" in (options.part or PARTS):
            rows["cost"] = list(cost.rows(Path(name), quick=options.quick))
        if "speech" in (options.part or PARTS) and not options.quick:
            from benchmarks.sequences import speech  # it needs what the tests of real models need

            rows["speech"] = list(speech.rows(Path(name)))
            print_speech(rows["speech"])
    judges = {"planted": bars_of.planted, "cost": bars_of.cost}
    bars = []
    for part, made in rows.items():
        bars += bars_of.speech(made) if part == "speech" else judges[part](made, whole=not options.quick)
        if options.out is not None:
            command = ["python", "-m", "benchmarks.sequences", "--part", part, "--seed", str(seed)]
            print(results.write(options.out, _result(part, made, command, quick=options.quick)))
    for one in bars:
        verdict = "met" if one["met"] else "missed"
        print(f"{one['name']}: {figure_text(one)}; bar: {one['sense']} {one['limit']:.4g}: {verdict}")
    missed = sum(not one["met"] for one in bars)
    print(f"sequences: {missed} of {len(bars)} bars missed; bar: none")
    return 1 if missed else 0


def _result(part: str, rows: Rows, command: list[str], *, quick: bool) -> results.Result:
    """Return the result of one part, with the versions that it was measured with."""
    names = ("numpy", "onnx", "onnxruntime", "pytest-hil")
    versions = {"host python": platform.python_version(), **{name: version(name) for name in names}}
    versions |= {"machine": f"{platform.machine()}, {os.cpu_count()} processors"}
    return results.result(f"sequences-{part}", rows, command=command, versions=versions, quick=quick)


if __name__ == "__main__":
    sys.exit(main())
