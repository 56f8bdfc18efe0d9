"""Comparisons of separate sessions: ``python -m benchmarks.sessions [--quick] [--work DIR] [--out DIR]``.

A chain of 101 separate sessions of the bundled digits model (``pytest --hil-model=digits -k latency --hil-runs=7``) is
compared as a user does, each session with the one before (``hil compare``). Of six sessions, one is disturbed: a
neighbour keeps the other cores busy, or its workers are limited to one core. All sessions run the same code, so that
every change that is reported is false. Then the model is compared with a copy that is about 5 % slower, with as many
runs or sessions as the planner asks for. On a simulated board, sessions with throttled clocks are compared with an
undisturbed one. Finally sessions are simulated, with the noise models of
``benchmarks.verdicts``. The numbers were fixed beforehand and every comparison counts. The exit code is 1 if a bar is
missed.
"""

from __future__ import annotations

import argparse
import os
import platform
import sys
import tempfile
import time
from functools import partial
from importlib.metadata import version
from pathlib import Path
from typing import Any

from benchmarks import results
from benchmarks.results.judging import sessions as judging
from benchmarks.sessions import on_board, simulated
from benchmarks.sessions.chain import Chain
from benchmarks.verdicts import table

QUICK_PAIRS, QUICK_TRIALS = 1, 10
SEED = 20261130


def options(arguments: list[str] | None = None) -> argparse.Namespace:
    """Return the parsed command line."""
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.sessions", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--quick", action="store_true", help="one pair and a few simulated ones; not a result")
    parser.add_argument("--pairs", type=int, default=judging.PAIRS, help="pairs of sessions (default: %(default)s)")
    parser.add_argument("--trials", type=int, default=table.TRIALS, help="simulated pairs a cell")
    parser.add_argument("--only", choices=("real", "board", "simulated"), help="only one part; not a result")
    parser.add_argument("--work", type=Path, help="the folder of the sessions; a run in it that was ended is continued")
    parser.add_argument("--out", type=Path, help="the folder to write sessions.json to")
    return parser.parse_args(arguments)


def main(arguments: list[str] | None = None) -> int:
    """Measure, print the bars, and write the result to ``--out``; the last line has figures and bars."""
    parsed = options(arguments)
    os.environ["HIL_COMMIT"] = results.commit()  # as it is at the start
    os.environ["CI"] = "true"  # a selection of tests is a whole run there, and is kept in the history
    began = time.monotonic()
    rows: list[dict[str, Any]] = []
    if parsed.only not in {"simulated", "board"}:
        with tempfile.TemporaryDirectory() as folder:
            rows += _real(Chain(parsed.work or Path(folder), quick=parsed.quick), parsed, began)
    if parsed.only == "board" or (parsed.only is None and not parsed.quick):
        with tempfile.TemporaryDirectory() as folder:
            rows += on_board.rows(parsed.work or Path(folder), partial(_notify, began))
    if parsed.only not in {"real", "board"}:
        cells = simulated.cells(QUICK_TRIALS if parsed.quick else parsed.trials, SEED)
        print(f"simulated, {time.monotonic() - began:.0f} s\n{table.text(cells)}\n{table.last_line(cells)}", flush=True)
        rows += [{"kind": "simulated", **row} for row in table.as_rows(cells)]
    if parsed.quick or parsed.only is not None:
        print(f"sessions: {len(rows)} rows, not enough to judge; bar: none with --quick or --only")
        return 0
    made = results.result("sessions", rows, command=_command(), versions=_versions(), quick=False)
    if parsed.out is not None:
        print(results.write(parsed.out, made))
    for bar in made["bars"]:
        verdict = "met" if bar["met"] else "missed"
        print(f"{bar['name']}: {results.figure_text(bar)}; bar: {bar['sense']} {bar['limit']:g}: {verdict}")
    missed = sum(not bar["met"] for bar in made["bars"])
    print(f"sessions: {missed} of {len(made['bars'])} bars missed; bar: none")
    return 1 if missed else 0


def _real(chain: Chain, parsed: argparse.Namespace, began: float) -> list[dict[str, Any]]:
    notify = partial(_notify, began)
    chain.pairs(QUICK_PAIRS if parsed.quick else parsed.pairs, notify)
    if not parsed.quick:
        chain.slowdowns(judging.SLOWDOWNS, notify)
    return chain.rows


def _notify(began: float, line: str) -> None:
    print(f"{time.monotonic() - began:6.0f} s: {line}", flush=True)


def _command() -> list[str]:
    """Return the command without the folders of this machine."""
    return ["python", "-m", "benchmarks.sessions", *(word for word in sys.argv[1:] if word == "--quick")]


def _versions() -> dict[str, str]:
    return {
        "machine": f"{platform.machine()}, {os.cpu_count()} processors",
        "host python": platform.python_version(),
        "host numpy": version("numpy"),
        "onnxruntime": version("onnxruntime"),
        "pytest-hil": version("pytest-hil"),
    }


if __name__ == "__main__":
    sys.exit(main())
