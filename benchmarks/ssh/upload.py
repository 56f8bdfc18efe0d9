"""The time to upload a large model to the board: by a session, and by ``scp`` of the same file."""

from __future__ import annotations

import os
import subprocess
import time
from typing import TYPE_CHECKING, NamedTuple

from benchmarks.ssh.board import program
from hil.targets.ssh import SshTarget

if TYPE_CHECKING:
    from pathlib import Path

    from benchmarks.ssh.board import Way

MIB = 1 << 20


class Pair(NamedTuple):
    """Seconds of one round: ``ours`` and ``scp``, both with connecting, and ``start``.

    ``start`` is the start of the agent, which ``ours`` does not contain.
    """

    ours: float
    scp: float
    start: float

    @property
    def ratio(self) -> float:
        """The time of scp divided by ours; above 1 if ours is faster."""
        return self.scp / self.ours

    @property
    def strict(self) -> float:
        """As ``ratio``, including the agent's start."""
        return self.scp / (self.ours + self.start)


def random_file(path: Path, size: int) -> None:
    """Write new random bytes, which no store has and no connection can compress."""
    with path.open("wb") as file:
        for _ in range(size // (4 * MIB)):
            file.write(os.urandom(4 * MIB))


def settle(scratch: Path, size: int) -> None:
    """Give both sides the same conditions: no pending writes, and free memory for a file of this size."""
    with scratch.open("wb") as file:
        for _ in range(size // (4 * MIB)):
            file.write(bytes(4 * MIB))
    scratch.unlink()
    os.sync()


def ours(way: Way, source: Path, store: Path) -> tuple[float, float]:
    """Return two times in seconds: connecting and uploading until the blob is synced, and the agent's start."""
    target = SshTarget("board", way.spec(store=str(store), store_size="64 GiB"))
    began = time.perf_counter()
    target.connection()
    connected = time.perf_counter()
    with target.start_agent() as agent:
        ready = time.perf_counter()
        digest = agent.put_blob(source)
        ended = time.perf_counter()
    if (store / "blobs" / digest).stat().st_size != source.stat().st_size:
        raise AssertionError("the uploaded blob is incomplete")
    (store / "blobs" / digest).unlink()
    return (connected - began) + (ended - ready), ready - connected


def scp(way: Way, source: Path, to: Path) -> float:
    """Return the seconds of ``scp``, including connecting."""
    began = time.perf_counter()
    subprocess.run([program("scp"), "-q", *way.options(), str(source), f"127.0.0.1:{to}"], check=True)
    seconds = time.perf_counter() - began
    if to.stat().st_size != source.stat().st_size:
        raise AssertionError("the copy is incomplete")
    to.unlink()
    return seconds


def measure(way: Way, folder: Path, size: int, rounds: int) -> list[Pair]:
    """Return the rounds, each with a new file, in which the sides alternate; a first upload installs the agent."""
    source, store = folder / "model.bin", folder / "store"
    random_file(source, 4 * MIB)
    ours(way, source, store)
    pairs = []
    for number in range(rounds):
        random_file(source, size)
        seconds = {}
        for side in ("ours", "scp") if number % 2 == 0 else ("scp", "ours"):
            settle(folder / "scratch.bin", size)
            seconds[side] = ours(way, source, store) if side == "ours" else (scp(way, source, folder / "copy.bin"), 0.0)
        pairs.append(Pair(seconds["ours"][0], seconds["scp"][0], seconds["ours"][1]))
    return pairs
