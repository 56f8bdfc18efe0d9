"""The latency that sampling a board adds to a timed engine: ``python -m benchmarks.telemetry [--quick]``.

The bundled digits model is timed by the agent's own supervisor and worker, in short alternating windows (AB BA AB …)
with and without the sampler. Ten times a second, the sampler reads the worker's memory, every file of a sysfs tree with
as many sensors as an AGX Orin has, and the output of a tegrastats that prints a line every 100 ms. Two neighbouring
windows of one worker are a pair, and a pair's figure is the ratio of the two p50. A round's figure is the median of its
pairs, the benchmark's is the median of its rounds. The exit code is 1 if the benchmark's figure is over the bar.
``--out FOLDER`` writes the result of a whole run to ``telemetry.json``.

The tree consists of plain files. Reading a real sensor takes longer (a power meter is read over I2C, which needs no
processor time but blocks the supervisor), and a real tegrastats does other work: only a board shows those costs.
"""

from __future__ import annotations

import argparse
import os
import platform
import socket
import statistics
import sys
import tempfile
import time
from contextlib import contextmanager
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
from rich.console import Console
from rich.table import Table

from benchmarks import results
from benchmarks.results.judging import network
from hil.agent.machine.board_sampler import BoardSampler
from hil.agent.protocol import arrays, wire
from hil.agent.protocol.channel import Channel
from hil.agent.service import Service
from hil.agent.store.blobs import Store
from hil.agent.supervisor import Supervisor
from hil.agent.workers.telemetry import INTERVAL, Sampler
from hil.files.digests import file_digest
from hil.targets.bundle import agent_archive
from tests.agent.jetson import orin
from tests.agent.jetson.test_tegrastats import ORIN_R39

if TYPE_CHECKING:
    from collections.abc import Iterator

    from hil.agent.workers.worker_process import WorkerProcess

BAR = network.TELEMETRY_BAR
QUIET = 0.03
"""If the quartiles of the rounds are further apart than this, the machine was too busy for a result."""

MODEL = Path(__file__).parents[1] / "examples" / "digits" / "model.onnx"
DATA = MODEL.with_name("validation.npz")
DEADLINE = 60.0
SENSORS = 37
"""Columns that a window with the sampler must have, to show that the whole tree was read."""


class Effort(NamedTuple):
    """A window's seconds of warm-up and of timing, the pairs in a round, and the number of rounds."""

    warmup: float
    seconds: float
    pairs: int
    rounds: int


FULL = Effort(warmup=0.3, seconds=1.0, pairs=12, rounds=network.TELEMETRY_ROUNDS)
QUICK = Effort(warmup=0.2, seconds=0.5, pairs=5, rounds=5)


@contextmanager
def service(folder: Path) -> Iterator[Service]:
    """Yield the agent's service in this process; its workers are separate processes, as usual."""
    archive, _ = agent_archive(folder / "agents")
    ours, theirs = socket.socketpair()
    store = folder / "store"
    made = Service(Supervisor(Channel(theirs.fileno(), theirs.fileno()), str(archive), str(store)), Store(str(store)))
    try:
        made.hold({"token": "a", "who": "benchmarks.telemetry", "host": "here", "pid": "1", "wait": 0})
        yield made
    finally:
        for worker in list(made.supervisor.workers.values()):
            made.supervisor.stop_worker(worker)
        made.lock.release()
        ours.close()
        theirs.close()


def build(agent: Service) -> str:
    """Build the model's engine in the store and return its key."""
    digest = file_digest(MODEL)
    agent.store.begin(digest, MODEL.stat().st_size)
    agent.store.append(digest, 0, MODEL.read_bytes())
    agent.store.commit(digest)
    order = {"model": digest, "precision": "fp32", "runtime": "onnxruntime", "options": {}, "deadline": DEADLINE}
    return str(agent.build(order)[0]["ok"]["key"])


class Timer:
    """A fresh worker with the model loaded, whose windows are timed with or without the sampler."""

    def __init__(self, agent: Service, key: str, board: Path) -> None:
        self.supervisor = agent.supervisor
        self.board = board
        loaded = agent.load({"key": key, "options": {"threads": 1}, "deadline": DEADLINE})[0]["ok"]
        self.process: WorkerProcess = self.supervisor.workers[loaded["worker"]]
        port = loaded["inputs"][0]
        with np.load(DATA, allow_pickle=False) as data:
            feed = data[port["name"]][:1]
        self.listing, chunks = arrays.describe([(port["name"], feed)])
        self.body = b"".join(bytes(chunk) for chunk in chunks)

    def window(self, effort: Effort, *, sampled: bool) -> float:
        """Return the p50 of one window in seconds."""
        worker = self.process
        worker.segment.reserve(len(self.body))
        worker.segment.view(0, len(self.body))[:] = self.body
        order = {"op": "time", "arrays": self.listing, "body": len(self.body), "feeds": 1, "budget": DEADLINE / 2}
        order.update(warmup=effort.warmup, seconds=effort.seconds, min_samples=1, max_samples=10**7)
        sampler = None
        if sampled:
            now = time.monotonic()
            board = BoardSampler(now, str(self.board / "sys"), str(self.board / "tegrastats"))
            sampler = Sampler(worker.pid, slow=True, instruments=board)
        try:
            reply = self.supervisor.exchange(worker, order, DEADLINE, sampler)
            if sampler is not None:
                check(sampler.report(), effort)
        finally:
            if sampler is not None:
                sampler.close()
        body = reply["body"]
        slots = wire.slots(reply, body)
        return float(np.median(dict(arrays.views(worker.segment.view(reply.get("at", 0), body), slots))["duration"]))

    def close(self) -> None:
        """Stop the worker."""
        self.supervisor.stop_worker(self.process)


def check(telemetry: dict[str, Any], effort: Effort) -> None:
    """Exit unless the sampler read all sensors and took ten samples a second."""
    columns = [name for name in telemetry if isinstance(telemetry[name], list)]
    if len(columns) < SENSORS or "load.emc" not in telemetry or "tegrastats" in telemetry["not_readable"]:
        raise SystemExit(f"the sensors were not read, so their cost was not measured: {len(columns)} columns")
    if len(telemetry["t"]) < (effort.warmup + effort.seconds) / INTERVAL - 1:
        raise SystemExit(
            f"{len(telemetry['t'])} samples were taken: fewer than ten a second, so their cost was not measured"
        )


class Round(NamedTuple):
    """The p50 in seconds of neighbouring windows, with and without the sampler."""

    on: list[float]
    off: list[float]

    @property
    def ratio(self) -> float:
        """The median of the pairs' ratios."""
        return statistics.median(one / other for one, other in zip(self.on, self.off, strict=True))


def one_round(timer: Timer, effort: Effort, *, sampled_first: bool) -> Round:
    """Return pairs of windows with and without the sampler."""
    timer.window(effort, sampled=False)  # the first window after loading warms up alone
    windows = Round([], [])
    for number in range(effort.pairs):
        order = (True, False) if (number % 2 == 0) == sampled_first else (False, True)
        for sampled in order:
            (windows.on if sampled else windows.off).append(timer.window(effort, sampled=sampled))
    return windows


def measure(folder: Path, effort: Effort) -> list[Round]:
    """Return rounds, each with a fresh worker."""
    (folder / "board").mkdir()
    orin.sysfs(folder / "board" / "sys", orin.AGX)
    orin.tegrastats(folder / "board" / "tegrastats", ORIN_R39)
    rounds = []
    with service(folder) as agent:
        key = build(agent)
        for number in range(effort.rounds):
            timer = Timer(agent, key, folder / "board")
            rounds.append(one_round(timer, effort, sampled_first=number % 2 == 0))
            timer.close()
    return rounds


def write_result(folder: Path, rounds: list[Round]) -> Path:
    """Write the result and return its path."""
    rows = [{"round": number, "with": one.on, "without": one.off} for number, one in enumerate(rounds)]
    versions = {"host python": platform.python_version(), "host numpy": np.__version__}
    versions |= {name: version(name) for name in ("onnxruntime", "pytest-hil")}
    command = ["python", "-m", "benchmarks.telemetry", "--out", folder.name]
    return results.write(folder, results.result("telemetry", rows, command=command, versions=versions, quick=False))


def main() -> int:
    """Print the table; the last line has figure and bar."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="shorter windows, within a minute")
    parser.add_argument("--out", type=Path, metavar="FOLDER", help="where to write the result; not with --quick")
    arguments = parser.parse_args()
    if arguments.out is not None:
        if arguments.quick:
            parser.error("only a complete run is stored: omit --quick or --out")
        os.environ["HIL_COMMIT"] = results.commit()  # as it is at the start
    with tempfile.TemporaryDirectory() as folder:
        rounds = measure(Path(folder), QUICK if arguments.quick else FULL)
    table = Table(title="p50 of examples/digits, with the sampler and without", title_justify="left")
    for heading in ("round", "with µs", "without µs", "ratio"):
        table.add_column(heading, justify="right")
    for number, one in enumerate(rounds, 1):
        on, off = (f"{1e6 * statistics.median(side):,.2f}" for side in one)
        table.add_row(str(number), on, off, f"{one.ratio:.4f}")
    Console().print(table)
    if arguments.out is not None:
        print(write_result(arguments.out, rounds))
    low, figure, high = statistics.quantiles((one.ratio for one in rounds), n=4)
    if high - low > QUIET:
        print(f"the rounds differ by {high - low:.1%}: another process was running: end it and measure again")
    print("the sensors were plain files and tegrastats a script: the cost of reading real ones was not measured")
    print(f"telemetry: {figure:.4f}; bar: at most {BAR}")
    return 0 if figure <= BAR else 1


if __name__ == "__main__":
    sys.exit(main())
