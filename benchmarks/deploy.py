"""Deployments to a simulated board with a fault at a random moment: the complete old or new release must run.

``python -m benchmarks.deploy [--runs 200] [--jobs 1] [--out benchmarks/results] [--quick]``, as root. The board has a
real SSH server in its own namespaces. When its power is cut, its processes are killed, but cached disk writes are kept.
After each run the service reports the files that it has loaded, each is compared with a manifest, and ``hil releases``
must name the release that runs. The exit code is 1 if the bar is missed.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import shutil
import subprocess
import sys
import tempfile
import time
from importlib.metadata import version
from pathlib import Path
from typing import Any

import pytest

from benchmarks import results
from tests.agent.test_interpreters import CACHE
from tests.boards.board import REPOSITORY, SimulatedBoard
from tests.boards.conftest import installed_interpreter, missing_requirement
from tests.boards.faults import BoardProject
from tests.boards.generations import facts_of
from tests.deploy.conftest import DISK
from tests.deploy.faults import FAULTS, deployment, run
from tests.deploy.fleet import Fleet
from tests.deploy.robot import Robot

GENERATION = "jp62"
RUNS, SHORT = 200, 6
FIRST = 3
"""Number of deployments without a fault, from which the duration of one is measured."""


def board_at(folder: Path) -> SimulatedBoard:
    """Return a simulated board. Raise ``SystemExit`` if this machine cannot simulate one."""
    why = missing_requirement()
    if why:
        sys.exit(why)
    cached = Path(os.environ.get(CACHE) or REPOSITORY / ".pytest_cache/d/hil-interpreters")
    try:
        interpreter = installed_interpreter(facts_of(GENERATION)["python"], (), cached)
    except pytest.skip.Exception as skipped:
        sys.exit(str(skipped))
    return SimulatedBoard(GENERATION, interpreter, folder / "board")


def judge_on(project: Path, board: SimulatedBoard) -> None:
    """Create a project in the folder ``project`` and judge it on the board. Raise ``SystemExit`` unless it passes."""
    project.mkdir()
    ran = BoardProject.make(project, board).run("--hil-gate", timeout=300)
    if ran.code:
        sys.exit(ran.out)


def fleet_at(folder: Path, board: SimulatedBoard, project: Path | None) -> Fleet:
    """Return a copy of ``project`` whose robot is the board. Without ``project``, a new one is judged on this board."""
    own = folder / "project"
    if project is None:
        judge_on(own, board)
    else:
        shutil.copytree(project, own)
    fleet = Fleet.make(own, Robot(board, DISK))
    fleet.target(health_within="2 s")
    return fleet


def length_of(fleet: Fleet) -> float:
    """Return the longest duration in seconds of some deployments without a fault. Raise ``SystemExit`` if one fails."""
    durations = []
    for number in range(FIRST):
        fleet.mood("well", f"first {number}")
        began = time.monotonic()
        child = deployment(fleet)
        output = child.wait()
        if child.code:
            sys.exit(f"a deployment without a fault failed: {output}")
        durations.append(time.monotonic() - began)
    return max(durations)


def measure(fleet: Fleet, runs: int, seed: int, faults: list[str]) -> list[dict[str, Any]]:
    """Return a row for each run; the faults alternate."""
    length, began = length_of(fleet), time.monotonic()
    print(f"a deployment without a fault takes up to {length:.2f} s", flush=True)
    rows = []
    for number in range(runs):
        fault = faults[number % len(faults)]
        row = run(fleet, fault, seed + number, length)
        rows.append(row)
        end = "held" if row["held"] else f"NOT HELD: {row['why']}"
        what = f"{fault} at {row['moment']:.2f} s: exit {row['exit']}, {row['runs']} release runs: {end}"
        print(f"{number + 1:3} of {runs}, {time.monotonic() - began:5.0f} s: {what}", flush=True)
        if not row["held"]:
            print(f"    {row.get('told')}", flush=True)
    return rows


def rows_of_one_board(
    folder: Path, runs: int, seed: int, faults: list[str], project: Path | None
) -> list[dict[str, Any]]:
    """Return the rows of one board."""
    board = board_at(folder)
    try:
        return measure(fleet_at(folder, board, project), runs, seed, faults)
    finally:
        board.close()


def rows_of_several_boards(folder: Path, runs: int, seed: int, jobs: int) -> list[dict[str, Any]]:
    """Return the rows of ``jobs`` boards that run at the same time, in the order of their seeds."""
    parts = [len(range(job, runs, jobs)) for job in range(jobs)]
    board = board_at(folder)
    try:
        judge_on(folder / "project", board)
    finally:
        board.close()
    started = []
    for job, part in enumerate(parts):
        rows = folder / f"rows-{job}.json"
        words = [
            "--runs",
            str(part),
            "--seed",
            str(seed + sum(parts[:job])),
            "--rows",
            str(rows),
            "--project",
            str(folder / "project"),
        ]
        started.append((subprocess.Popen([sys.executable, "-m", "benchmarks.deploy", *words], cwd=REPOSITORY), rows))
    if any(process.wait() not in {0, 1} for process, _ in started):
        sys.exit("one of the boards' processes failed")
    return [row for _, rows in started for row in json.loads(rows.read_text(encoding="utf-8"))]


def versions() -> dict[str, str]:
    """Return the versions of the software, and the machine."""
    return {
        "machine": f"{platform.machine()}, {os.cpu_count()} processors",
        "board": f"simulated, {GENERATION}, Python {facts_of(GENERATION)['python']}",
        "host python": platform.python_version(),
        "host numpy": version("numpy"),
        "pytest-hil": version("pytest-hil"),
    }


def main() -> int:
    """Run, print a line for each run, and write the result to ``--out``; the last line has figure and bar."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--runs", type=int, default=RUNS)
    parser.add_argument("--seed", type=int, default=0, help="the first run's seed; each run increments it")
    parser.add_argument("--only", choices=FAULTS, help="a single kind of fault; not a result")
    parser.add_argument("--quick", action="store_true", help=f"{SHORT} runs; not a result")
    parser.add_argument("--jobs", type=int, default=1, help="number of boards that run at the same time")
    parser.add_argument("--project", type=Path, help="a project that is already judged")
    parser.add_argument("--rows", type=Path, help="also write the rows to this file")
    parser.add_argument("--out", type=Path, help="the folder to write deploy-faults.json to")
    arguments = parser.parse_args()
    os.environ["HIL_COMMIT"] = results.commit()  # as it is at the start
    runs = SHORT if arguments.quick else arguments.runs
    with tempfile.TemporaryDirectory() as folder:
        faults = [arguments.only] if arguments.only else list(FAULTS)
        if arguments.jobs > 1:
            rows = rows_of_several_boards(Path(folder), runs, arguments.seed, arguments.jobs)
        else:
            rows = rows_of_one_board(Path(folder), runs, arguments.seed, faults, arguments.project)
    if arguments.rows is not None:
        arguments.rows.write_text(json.dumps(rows), encoding="utf-8")
    command = ["python", "-m", "benchmarks.deploy", *sys.argv[1:]]
    made = results.result("deploy-faults", rows, command=command, versions=versions(), quick=arguments.quick)
    if arguments.out is not None and not arguments.quick:
        print(results.write(arguments.out, made))
    held = sum(row["held"] for row in rows)
    print(f"deploy-faults: {held} of {len(rows)} runs held; bar: all, and {SHORT if arguments.quick else RUNS} of them")
    return 0 if held == len(rows) and (arguments.quick or made["passed"]) else 1


if __name__ == "__main__":
    sys.exit(main())
