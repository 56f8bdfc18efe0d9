"""A history in SQLite and in PostgreSQL: ``python -m benchmarks.history [--quick] [--out DIR]``.

The history has 20,000 runs with a million measurements. The benchmark measures the query of ``hil compare --by jetpack
--model M``: each time the history is opened for reading, and the facts behind the digests are read as well. Then 16
writers write at the same time and are killed at random moments, some right after their start. A database of the first
schema is migrated. Finally runs use a history that is not a database, is truncated or is read-only. Both databases are
on this machine. PostgreSQL runs without ``fsync``, which affects neither a query nor a killed client. The exit code is
1 if a bar is missed. ``--quick`` uses a twentieth of the runs and is not a result.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import subprocess
import sys
import tempfile
import time
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Any

from benchmarks import results
from benchmarks.history.filling import MODELS, PER_RUN, ROOT, RUNS_KEPT, fill
from benchmarks.results.judging.history import HISTORY_REPEATS
from hil.compare.select_runs import facts_of
from hil.history import open_history, table_version
from hil.history.add_run import write
from hil.history.connect import WRITES, engine_for
from hil.history.derive import derive
from hil.history.urls import place_of
from tests.history import postgresql, run_reports
from tests.history.damaged_history import BEFORE, CASES, outcome_of_damage

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

QUICK_RUNS, WRITING, QUICK_WRITING = RUNS_KEPT // 20, 120.0, 4.0


def measure(database: str, new: Callable[[str], str], folder: Path, *, quick: bool) -> Iterator[dict[str, Any]]:
    """Yield the rows of one database; ``new`` creates a database with a name and returns its URL."""
    url = new("large")
    began = time.monotonic()
    measurements = fill(url, QUICK_RUNS if quick else RUNS_KEPT)
    filled = {"runs": measurements // PER_RUN, "measurements": measurements, "filling": time.monotonic() - began}
    seconds, points = [], 0
    for number in range(HISTORY_REPEATS):
        began = time.perf_counter()
        with open_history(url, base=ROOT, read_only=True) as history:
            matrix = history.matrix("jetpack", model=f"model-{number % MODELS:02}")
            facts_of(history, matrix)
        seconds.append(time.perf_counter() - began)
        points = len(matrix)
    yield {"what": "matrix", "database": database, **filled, "points": points, "seconds": seconds}
    confirmed = folder / f"confirmed-{database}"
    confirmed.mkdir()
    command = [
        sys.executable,
        "-m",
        "tests.history.concurrent_writers",
        new("writers"),
        str(confirmed),
        str(QUICK_WRITING if quick else WRITING),
    ]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    yield {"what": "writers", "database": database, **json.loads(done.stdout)}
    yield {"what": "older schema", "database": database, "good": migrated(new("older"))}


def migrated(url: str) -> bool:
    """Return whether a database of the first schema still has its runs after it was opened, and accepts new ones."""
    engine = engine_for(place_of(url, ROOT), read_only=False).execution_options(**{WRITES: True})
    with engine.begin() as connection:
        table_version.run_migrations(connection, 1)
        for number in (1, 2):
            write(connection, derive(run_reports.report(number)))
    engine.dispose()
    with open_history(url, base=ROOT) as history:
        history.append(run_reports.report(3))
        history.name_baseline("kept", [run_reports.report(1).run.id], who="ann", why="was there before")
        ids = [run.id for run in history.runs()]
        return ids == [run_reports.report(number).run.id for number in (3, 2, 1)] and len(history.resolve("kept")) == 1


def rows(folder: Path, *, quick: bool) -> Iterator[dict[str, Any]]:
    """Yield the rows of both databases, then those of damaged histories."""
    yield from measure("SQLite", lambda name: f"sqlite:///{folder / name}.db", folder, quick=quick)
    with postgresql.server() as server:
        yield from measure("PostgreSQL", server.database, folder, quick=quick)
    for number, (what, when) in enumerate(CASES if not quick else CASES[:2]):
        yield {
            "what": "trouble",
            "early": when == BEFORE,
            **outcome_of_damage(folder / f"damaged-{number}", what, when),
        }


def versions() -> dict[str, str]:
    """Return the versions of the software, and the machine."""
    server = postgresql.programs()
    return {
        "machine": f"{platform.machine()}, {os.cpu_count()} processors",
        "host python": platform.python_version(),
        "host numpy": version("numpy"),
        "sqlalchemy": version("sqlalchemy"),
        "postgresql": "none" if server is None else server.parent.name,
        "pytest-hil": version("pytest-hil"),
    }


def main() -> int:
    """Measure, print the bars, and write the result to ``--out``; the last line has figures and bars."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="a twentieth of the runs; not a result")
    parser.add_argument("--out", type=Path, help="the folder to write history.json to")
    arguments = parser.parse_args()
    os.environ["HIL_COMMIT"] = results.commit()  # as it is at the start
    measured = []
    with tempfile.TemporaryDirectory() as folder:
        for row in rows(Path(folder), quick=arguments.quick):
            measured.append(row)
            print(f"{row['what']} {row.get('database') or row['case']}: {_figures(row)}", flush=True)
    command = ["python", "-m", "benchmarks.history", *(word for word in sys.argv[1:] if word == "--quick")]
    made = results.result("history", measured, command=command, versions=versions(), quick=arguments.quick)
    if arguments.out is not None and not arguments.quick:
        print(results.write(arguments.out, made))
    for bar in made["bars"]:
        verdict = "met" if bar["met"] else "missed"
        print(f"{bar['name']}: {results.figure_text(bar)}; bar: {bar['sense']} {bar['limit']:g}: {verdict}")
    if arguments.quick:
        slowest = max(max(row["seconds"]) for row in measured if row["what"] == "matrix")
        print(f"history: matrix query over fewer runs in {slowest:.3f} s, not enough to judge; bar: none with --quick")
        return 0
    missed = sum(not bar["met"] for bar in made["bars"])
    print(f"history: {missed} of {len(made['bars'])} bars missed; bar: none")
    return 1 if missed else 0


def _figures(row: dict[str, Any]) -> str:
    return ", ".join(f"{key} {_short(value)}" for key, value in row.items() if key not in {"what", "database", "case"})


def _short(value: Any) -> str:
    if isinstance(value, float):
        return f"{value:.3g}"
    return " ".join(map(_short, value)) if isinstance(value, list) else str(value)


if __name__ == "__main__":
    sys.exit(main())
