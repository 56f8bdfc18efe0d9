"""Many concurrent writers of one history, killed at random: every confirmed run must be stored completely and once.

``python -m tests.history.concurrent_writers URL FOLDER SECONDS`` prints the result as JSON.
It forks: run it in its own process.
"""

from __future__ import annotations

import itertools
import json
import os
import random
import signal
import sys
import tempfile
import time
from collections import Counter
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import NoReturn

import sqlalchemy as sa

from hil.history import open_history
from hil.history.connect import engine_for
from hil.history.derive import derive
from hil.history.tables import MEASUREMENTS, RUN_MODELS, RUNS
from hil.history.urls import place_of
from tests.history import run_reports

WRITERS = 16
LONGEST = 60.0
"""The most seconds to wait for a confirmed run: on a busy machine, creating the tables may need several."""
EACH = 100_000
"""The most runs of one writer; each writer's run numbers start at a multiple of this."""
ROOT = Path("/")


@dataclass(frozen=True)
class WriterCounts:
    """The result: ``lost`` runs were confirmed but are missing, ``partial`` runs lack some of their points."""

    confirmed: int
    kept: int
    killed: int
    lost: int
    twice: int
    partial: int

    @property
    def good(self) -> bool:
        """Whether runs were confirmed, and none is lost, duplicated or partial."""
        return not (self.lost or self.twice or self.partial) and self.confirmed > 0 and self.killed > 0


def main(url: str, folder: Path, seconds: float, seed: int = 1) -> WriterCounts:
    """Run and kill writers for this many seconds, or longer until runs are confirmed, then count the stored runs."""
    _import_and_compile_once()
    draw = random.Random(seed)  # noqa: S311 - which writer is killed is not a secret
    started = {_start(number, url, folder): number for number in range(WRITERS)}
    killed = 0
    start = time.monotonic()
    while (passed := time.monotonic() - start) < seconds or (not _are_runs_confirmed(folder) and passed < LONGEST):
        time.sleep(draw.uniform(0.01, 0.3))
        victim = draw.choice(list(started))
        number = started.pop(victim)
        _kill(victim)
        killed += 1
        started[_start(number, url, folder)] = number
    for process in started:
        _kill(process)
    return _count(url, folder, killed)


def _import_and_compile_once() -> None:
    """Write a run to another database, so that forked writers start with loaded modules."""
    with tempfile.TemporaryDirectory() as folder, open_history("sqlite:///history.db", base=Path(folder)) as history:
        history.append(run_reports.report())


def _are_runs_confirmed(folder: Path) -> bool:
    return any(record.stat().st_size for record in folder.iterdir())


def _start(number: int, url: str, folder: Path) -> int:
    process = os.fork()
    return process or _write(number, url, folder)


def _kill(process: int) -> None:
    os.kill(process, signal.SIGKILL)
    _, status = os.waitpid(process, 0)
    # A writer must end by this signal only: one that failed by itself would otherwise go unnoticed.
    assert os.WIFSIGNALED(status), f"a writer ended by itself: {status}"


def _write(number: int, url: str, folder: Path) -> NoReturn:
    """Add runs, each through its own connection, and record each id after its commit is confirmed."""
    try:
        record = folder / str(number)
        first = len(record.read_bytes().splitlines()) if record.exists() else 0
        with record.open("ab", buffering=0) as file:
            for each in itertools.count(number * EACH + first):
                report = run_reports.report(each)
                with open_history(url, base=ROOT) as history:
                    history.append(report)
                file.write(f"{report.run.id}\n".encode())
    finally:
        os._exit(1)


def _count(url: str, folder: Path, killed: int) -> WriterCounts:
    confirmed = [line for record in folder.iterdir() for line in record.read_text(encoding="ascii").splitlines()]
    expected = len(derive(run_reports.report(0)).points)
    engine = engine_for(place_of(url, ROOT), read_only=True)
    with engine.connect() as connection:
        ids = Counter(connection.execute(sa.select(RUNS.c.id)).scalars())
        points = sa.select(sa.func.count()).where(MEASUREMENTS.c.run == RUNS.c.seq).correlate(RUNS).scalar_subquery()
        models = sa.select(sa.func.count()).where(RUN_MODELS.c.run == RUNS.c.seq).correlate(RUNS).scalar_subquery()
        query = sa.select(points, models).select_from(RUNS)
        partial = sum(1 for row in connection.execute(query) if tuple(row) != (expected, 1))
    engine.dispose()
    lost, twice = set(confirmed) - set(ids), [run for run, times in ids.items() if times > 1]
    return WriterCounts(len(confirmed), len(ids), killed, len(lost), len(twice), partial)


if __name__ == "__main__":
    print(json.dumps(asdict(main(sys.argv[1], Path(sys.argv[2]), float(sys.argv[3])))))  # noqa: T201 - the result
