"""The rate of tensors to a worker and back, relative to the rate of the pipes themselves.

A 64 MiB float32 tensor goes host -> supervisor -> worker -> supervisor -> host (``echo``: the worker copies it as
it would an engine's output). The bar is half the rate of plain ``os.write``/``os.read`` over pipes of the same
size to a process that returns the same bytes. Rounds alternate; the figure is the median of their ratios.
The rate of small requests (16 floats) is measured as well. The exit code is 1 if a bar is missed.
"""

from __future__ import annotations

import argparse
import fcntl
import os
import statistics
import subprocess
import sys
import tempfile
import time
from typing import TYPE_CHECKING

import numpy as np

from hil.config.spec import TargetSpec
from hil.targets.engine_worker import EngineWorker
from hil.targets.process import F_SETPIPE_SZ, PIPE_BYTES
from hil.targets.target import open_target

if TYPE_CHECKING:
    import numpy.typing as npt

TENSOR_BYTES = 64 << 20
BAR_RATIO = 0.5
BAR_RATE = 1000.0
# The other process of the baseline: it reads the whole tensor, then writes it back.
MIRROR = """
import os, sys
size, piece = int(sys.argv[1]), int(sys.argv[2])
while True:
    got = []
    left = size
    while left:
        data = os.read(0, min(left, piece))
        if not data:
            sys.exit()
        got.append(data)
        left -= len(data)
    for data in got:
        while data:
            data = data[os.write(1, data):]
"""


class Mirror:
    """The baseline's process and its two pipes, which are as large as the agent's."""

    def __init__(self) -> None:
        """Start the process."""
        command = [sys.executable, "-c", MIRROR, str(TENSOR_BYTES), str(PIPE_BYTES)]
        self.process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, bufsize=0)
        if self.process.stdin is None or self.process.stdout is None:
            raise AssertionError("the process has no pipes")
        self.to, self.back = self.process.stdin.fileno(), self.process.stdout.fileno()
        for fd in (self.to, self.back):
            fcntl.fcntl(fd, F_SETPIPE_SZ, PIPE_BYTES)

    def round(self, tensor: npt.NDArray[np.float32]) -> float:
        """Return the seconds of one round trip."""
        view = tensor.data.cast("B")
        began = time.perf_counter()
        sent = 0
        while sent < len(view):
            sent += os.write(self.to, view[sent : sent + PIPE_BYTES])
        left = len(view)
        while left:
            left -= len(os.read(self.back, min(left, PIPE_BYTES)))
        return time.perf_counter() - began

    def close(self) -> None:
        """Stop the process."""
        self.process.kill()
        self.process.communicate()


def echo_round(worker: EngineWorker, tensor: npt.NDArray[np.float32]) -> float:
    """Return the seconds of one round trip through the agent."""
    began = time.perf_counter()
    [(_, back)] = worker.echo({"x": tensor})
    seconds = time.perf_counter() - began
    if back.shape != tensor.shape or back[0] != tensor[0] or back[-1] != tensor[-1]:
        raise AssertionError("the tensor came back changed")
    return seconds


def small_rate(worker: EngineWorker, seconds: float) -> float:
    """Return the requests per second, one after another, each with 16 floats in both directions."""
    small = np.zeros(16, np.float32)
    began = time.perf_counter()
    count = 0
    while time.perf_counter() - began < seconds:
        worker.echo({"x": small})
        count += 1
    return count / (time.perf_counter() - began)


def rounds(worker: EngineWorker, count: int) -> list[tuple[float, float]]:
    """Return (pipe, agent) seconds of ``count`` alternating rounds, after two for warm-up."""
    tensor = np.random.default_rng(0).random(TENSOR_BYTES // 4, np.float32)
    mirror = Mirror()
    try:
        pairs = [(mirror.round(tensor), echo_round(worker, tensor)) for _ in range(count + 2)]
    finally:
        mirror.close()
    return pairs[2:]


def main() -> int:
    """Print the table; the last line has figures and bars."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="fewer rounds, well within a minute")
    quick = parser.parse_args().quick
    with tempfile.TemporaryDirectory() as store, open_target("cpu", TargetSpec(store=store)).start_agent() as agent:
        worker = EngineWorker(agent, agent.call("spawn")[0])
        pairs = rounds(worker, 10 if quick else 40)
        rate = small_rate(worker, 2.0 if quick else 5.0)
    print("round   pipe ms  agent ms  ratio   (64 MiB there and back)")
    for number, (pipe, agent_seconds) in enumerate(pairs, 1):
        print(f"{number:5} {pipe * 1e3:9.1f} {agent_seconds * 1e3:9.1f} {pipe / agent_seconds:6.2f}")
    ratio = statistics.median(pipe / agent_seconds for pipe, agent_seconds in pairs)
    good = ratio >= BAR_RATIO and rate >= BAR_RATE
    word = "ok" if good else "MISSED"
    print(
        f"wire: {ratio:.2f} of the pipe's rate (bar {BAR_RATIO:.2f} or more), "
        f"{rate:,.0f} small requests/s (bar {BAR_RATE:,.0f} or more): {word}"
    )
    return 0 if good else 1


if __name__ == "__main__":
    sys.exit(main())
