"""Simultaneous runs on simulated boards of a real labgrid coordinator, while places are kicked and exporters stop.

Each run is a process (``one_run.py``) with its own keeper. Some runs are killed. The measurement looks for a board that
two runs use although nobody was kicked, a place still held at the end, and a row that is missing or occurs twice.
"""

from __future__ import annotations

import asyncio
import json
import os
import random
import signal
import subprocess
import sys
import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from labgrid.remote.generated import labgrid_coordinator_pb2 as pb

from hil.pools.coordinator_session import CoordinatorSession
from hil.pools.keeper_process import MARK, host_name
from tests.pools.lab import PATIENCE, Lab
from tests.ports import free_port

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

EXPORTERS = 4
KICKS, EXPORTS, KILLS = 0.10, 0.01, 0.01
"""The chance in each round of ``ROUND`` seconds that a place is kicked, an exporter restarts, or a run is killed."""

ROUND = 0.25
NOTICE = 5.0
"""Seconds after a kick during which the kicked run may still use the board: it needs time to react to the kick."""

WAIT = "60 s"
RUN_PATIENCE = 240.0
WORKER_KILLED = 0.0005


@dataclass
class Running:
    """A run that was started."""

    number: int
    process: subprocess.Popen[str]
    killed: float | None = None  # when


@dataclass
class Disturbed:
    """A lab with boards, the runs on it and what was done to them."""

    lab: Lab
    boards: list[str]
    random: random.Random
    running: list[Running] = field(default_factory=list)
    rows: list[dict[str, Any]] = field(default_factory=list)
    kicks: list[tuple[str, float]] = field(default_factory=list)
    exports: int = 0
    dead: dict[str, float] = field(default_factory=dict)  # killed runs that may hold places, and since when
    slowest: float = 0.0  # seconds until the places of a killed run were free

    def order(self, number: int) -> dict[str, Any]:
        """Return the order for one run."""
        spec = {**self.lab.spec().model_dump(exclude_unset=True, mode="json"), "wait": WAIT}
        return {
            "seed": self.random.randrange(1 << 30),
            "run": f"r{number}",
            "spec": spec,
            "boards": str(self.lab.folder / "boards"),
            "models": self.random.randint(2, 6),
            "workers": self.random.randint(1, 4),
            "killed": WORKER_KILLED,
            "patience": RUN_PATIENCE,
        }

    def start(self, number: int) -> None:
        """Start a run."""
        command = [sys.executable, "-m", "benchmarks.pool.one_run", json.dumps(self.order(number))]
        process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        self.running.append(Running(number, process))

    def collect(self) -> None:
        """Store the results of runs that ended."""
        for one in [each for each in self.running if each.process.poll() is not None]:
            self.running.remove(one)
            out, err = one.process.communicate()
            row: dict[str, Any] = {"part": "run", "run": one.number, "killed": one.killed is not None}
            if one.killed is None:
                try:
                    row |= json.loads(out.splitlines()[-1])
                except (IndexError, ValueError):
                    row |= {"error": err[-1500:] or f"exit code {one.process.returncode}"}
            self.rows.append(row)

    async def disturb(self, session: CoordinatorSession) -> None:
        """Perhaps kick a place, restart an exporter, or kill a run."""
        if self.random.random() < KICKS:
            held = [(each["place"], each["by"]) for each in session.holders() if each["by"]]
            if held:
                place, by = self.random.choice(held)
                self.kicks.append((place, time.time()))
                await session.call("ReleasePlace", pb.ReleasePlaceRequest(placename=place, fromuser=by))
        if self.random.random() < EXPORTS:
            name = f"lab{self.random.randrange(EXPORTERS)}"
            if name in self.lab.processes:
                self.lab.end(name)
                await asyncio.to_thread(self.lab.export, name)
                self.exports += 1
        alive = [one for one in self.running if one.killed is None]
        if alive and self.random.random() < KILLS:
            one = self.random.choice(alive)
            one.process.send_signal(signal.SIGKILL)
            one.killed = time.monotonic()
            self.dead[f"{MARK}{one.process.pid}-r{one.number}"] = one.killed

    def watch_dead(self, session: CoordinatorSession) -> None:
        """Note how long the places of killed runs stay held."""
        holders = [each["by"] for each in session.holders() if each["by"]]
        for user in list(self.dead):
            seconds = time.monotonic() - self.dead[user]
            if any(by.endswith(user) for by in holders):
                self.slowest = max(self.slowest, seconds)
            elif seconds > PATIENCE:  # before, it may be about to acquire one
                del self.dead[user]

    async def all_runs(self, runs: int, at_once: int, notify: Callable[[str], None]) -> float:
        """Start all runs, at most ``at_once`` at a time.

        Return the seconds from the end of the last run until no place was held, at most about ``PATIENCE``.
        """
        session = CoordinatorSession(f"127.0.0.1:{self.lab.port}", {"lab": "test"})
        await session.connect()
        started, shown = 0, 0
        while started < runs or self.running:
            while started < runs and len(self.running) < at_once:
                self.start(started)
                started += 1
            await self.disturb(session)
            await asyncio.sleep(ROUND)
            self.watch_dead(session)
            self.collect()
            if len(self.rows) >= shown + 10:
                shown = len(self.rows)
                notify(f"{shown} of {runs} runs ended")
        ended = time.monotonic()
        while [each for each in session.holders() if each["by"]] and time.monotonic() < ended + PATIENCE:
            self.watch_dead(session)
            await asyncio.sleep(ROUND)
        seconds = time.monotonic() - ended
        left = [each["place"] for each in session.holders() if each["by"]]
        answer = await session.call("GetReservations", pb.GetReservationsRequest())
        self.rows.append(
            {
                "part": "lab",
                "boards": len(self.boards),
                "kicks": len(self.kicks),
                "exporters": self.exports,
                "left": left,
                "reservations": len(answer.reservations),
                "seconds": seconds,
                "seconds_after_kill": self.slowest,
            }
        )
        await session.end()
        return seconds

    def used_by_two(self) -> None:
        """Write into each run's row how many of its collisions no kick explains."""
        for row in self.rows:
            alone = [each for each in row.pop("collisions", ()) if not self._after_kick(*each)]
            if row["part"] == "run":
                row["used_by_two"] = len(alone)

    def _after_kick(self, board: str, when: float) -> bool:
        return any(place == board and 0 <= when - kicked <= NOTICE for place, kicked in self.kicks)


def measure(
    folder: Path, counts: tuple[int, int, int], seed: int, notify: Callable[[str], None]
) -> list[dict[str, Any]]:
    """Return a row for each run and one for the lab; ``counts`` are boards, runs, and how many run at once."""
    boards, runs, at_once = counts
    os.environ.setdefault("LG_HOSTNAME", host_name())
    os.environ.setdefault("LG_USERNAME", "benchmark")
    lab = Lab(folder, free_port())
    (folder / "boards").mkdir()
    names = [f"b{number}" for number in range(boards)]
    for number in range(EXPORTERS):
        mine = names[number::EXPORTERS]
        services = {name: {"address": f"{name}.test", "username": "lab"} for name in mine}
        lab.write(services, dict.fromkeys(mine, "board"), f"lab{number}")
    try:
        lab.coordinate()
        for number in range(EXPORTERS):
            lab.export(f"lab{number}")
        there = Disturbed(lab, names, random.Random(seed))  # noqa: S311 - it draws what happens
        asyncio.run(there.all_runs(runs, at_once, notify))
        there.used_by_two()
        return [{**row, "seed": seed} for row in there.rows]
    finally:
        lab.close()
