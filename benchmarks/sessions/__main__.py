"""Comparisons of separate sessions: ``python -m benchmarks.sessions [--quick] [--work DIR] [--out DIR]``.

Three parts, each with its own result. ``real``: chains of separate sessions of the bundled digits model
(``pytest --hil-model=digits -k latency --hil-runs=7``) with a hundred pairs of neighbours, each session compared with
the one before as a user does (``hil compare``). Of six sessions, one is disturbed: a neighbour keeps the other cores
busy, or its workers are limited to one core. All sessions run the same code, so that every change that is reported is
false. Then the model is compared with a copy that is about 5 % slower, with as many runs or sessions as the planner
asks for. With ``--chains N``, N chains run side by side, each on its own share of the cores. ``board``: on a simulated
board, sessions with throttled clocks are compared with an undisturbed one. ``simulated``: sessions are simulated, with
the noise models of ``benchmarks.verdicts``. The numbers were fixed beforehand and every comparison counts. The exit
code is 1 if a bar is missed.
"""

from __future__ import annotations

import argparse
import os
import platform
import sys
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Any

from benchmarks import results
from benchmarks.results.judging import sessions as judging
from benchmarks.sessions import simulated
from benchmarks.sessions.chain import Chain
from benchmarks.verdicts import table

if TYPE_CHECKING:
    from collections.abc import Callable

    Notify = Callable[[str], None]

QUICK_PAIRS, QUICK_TRIALS = 1, 5
SEED = 20261130


def options(arguments: list[str] | None = None) -> argparse.Namespace:
    """Return the parsed command line."""
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.sessions", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--quick", action="store_true", help="one pair and a few simulated ones; not a result")
    parser.add_argument("--trials", type=int, default=table.TRIALS, help="simulated pairs a cell")
    parser.add_argument("--chains", type=int, default=1, help="chains side by side (default: %(default)s)")
    parser.add_argument("--only", choices=tuple(PARTS), help="only one part")
    parser.add_argument("--work", type=Path, help="the folder of the sessions; an interrupted run in it is continued")
    parser.add_argument("--out", type=Path, help="the folder to write the results to")
    return parser.parse_args(arguments)


def main(arguments: list[str] | None = None) -> int:
    """Measure, print the bars, and write the results to ``--out``; the last line has figures and bars."""
    parsed = options(arguments)
    os.environ["HIL_COMMIT"] = results.commit()  # as it is at the start
    os.environ["CI"] = "true"  # a selection of tests is a whole run there, and is kept in the history
    parts = [parsed.only] if parsed.only else [part for part in PARTS if not parsed.quick or part != "board"]
    notify = partial(_notify, time.monotonic())
    bars = []
    with tempfile.TemporaryDirectory() as folder:
        for part in parts:
            rows = PARTS[part](parsed, (parsed.work or Path(folder)).absolute(), notify)
            if parsed.quick:
                continue
            made = results.result(f"sessions-{part}", rows, command=_command(), versions=_versions(), quick=False)
            if parsed.out is not None:
                print(results.write(parsed.out, made))
            bars += made["bars"]
    if parsed.quick:
        print("sessions: not enough to judge; bar: none with --quick")
        return 0
    for bar in bars:
        verdict = "met" if bar["met"] else "missed"
        print(f"{bar['name']}: {results.figure_text(bar)}; bar: {bar['sense']} {bar['limit']:g}: {verdict}")
    missed = sum(not bar["met"] for bar in bars)
    print(f"sessions: {missed} of {len(bars)} bars missed; bar: none")
    return 1 if missed else 0


def _real(parsed: argparse.Namespace, folder: Path, notify: Notify) -> list[dict[str, Any]]:
    """Return the rows of all chains, whose pairs and slowdowns together are those that were fixed beforehand."""
    cores = sorted(os.sched_getaffinity(0))
    each = len(cores) // parsed.chains

    def of_chain(at: int) -> list[dict[str, Any]]:
        os.sched_setaffinity(0, cores[at * each : (at + 1) * each])  # of this thread and what it starts
        chain = Chain(folder / f"chain-{at}", quick=parsed.quick)
        chain.pairs(_part(QUICK_PAIRS if parsed.quick else judging.PAIRS, at, parsed.chains), notify)
        if not parsed.quick:
            chain.slowdowns(_part(judging.SLOWDOWNS, at, parsed.chains), notify)
        return [{**row, "side": at} for row in chain.rows]

    with ThreadPoolExecutor(parsed.chains) as pool:
        return [row for rows in pool.map(of_chain, range(parsed.chains)) for row in rows]


def _board(_parsed: argparse.Namespace, folder: Path, notify: Notify) -> list[dict[str, Any]]:
    from benchmarks.sessions import on_board  # imports simulated boards, which not every machine has

    return on_board.rows(folder, notify)


def _simulated(parsed: argparse.Namespace, _folder: Path, notify: Notify) -> list[dict[str, Any]]:
    cells = simulated.cells(QUICK_TRIALS if parsed.quick else parsed.trials, SEED)
    notify(f"simulated\n{table.text(cells)}\n{table.last_line(cells)}")
    return list(table.as_rows(cells))


PARTS = {"real": _real, "board": _board, "simulated": _simulated}


def _part(count: int, at: int, of: int) -> int:
    """Return the share of ``count`` that falls to number ``at`` of ``of``; the shares differ by at most one."""
    return count // of + (at < count % of)


def _notify(began: float, line: str) -> None:
    print(f"{time.monotonic() - began:6.0f} s: {line}", flush=True)


def _command() -> list[str]:
    """Return the command without the folders of this machine."""
    words = sys.argv[1:]
    hidden = {at + more for at, word in enumerate(words) if word in {"--work", "--out"} for more in (0, 1)}
    return ["python", "-m", "benchmarks.sessions", *(word for at, word in enumerate(words) if at not in hidden)]


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
