"""The overhead of measuring through the agent: ``python -m benchmarks.overhead [--quick] [--threads N]``.

The same ONNX Runtime session is timed through the agent (in its worker, with the supervisor sampling from outside) and
by a bare loop in a plain script (``bare.py``). Each round starts new processes for both, since a process's memory
layout alone may change its speed by some percent. They run alternately in short windows: AB BA AB … Two neighbouring
windows are a pair, and a pair's figure is the ratio of the two p50. Pairs cancel the load of other processes: where two
processors share a core, other work can slow the loop down by a factor of 1.7 for about a second, which affects both
windows. A round's figure is the median of its pairs, the benchmark's is the median of its rounds. The exit code is 1 if
the benchmark's figure is over the bar.
"""

from __future__ import annotations

import argparse
import json
import secrets
import statistics
import subprocess
import sys
import tempfile
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
from rich.console import Console
from rich.table import Table

from benchmarks.models import calibrated_chain, sample
from hil.config.spec import TargetSpec
from hil.targets.target import open_target

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from hil.targets.client import AgentClient

    Window = Callable[["Effort"], list[float]]

BAR = 1.02
ROUNDS = 10
MODELS = {"0.1 ms": 1e-4, "5 ms": 5e-3}
QUIET = 0.05
"""If the quartiles of the rounds are further apart than this, the machine was too busy for a result."""

BARE = Path(__file__).with_name("bare.py")


class Effort(NamedTuple):
    """A window's seconds of warm-up and of timing, and the pairs of windows in a round."""

    warmup: float
    seconds: float
    pairs: int


FULL = Effort(warmup=0.05, seconds=0.15, pairs=20)
QUICK = Effort(warmup=0.03, seconds=0.1, pairs=4)


class Pair(NamedTuple):
    """The p50 in seconds of two neighbouring windows."""

    agent: float
    bare: float


class Round(NamedTuple):
    """The pairs of one round."""

    pairs: list[Pair]

    @property
    def ratio(self) -> float:
        """The median ratio of the pairs; above 1 if the agent's windows are slower."""
        return statistics.median(pair.agent / pair.bare for pair in self.pairs)


@contextmanager
def through_agent(agent: AgentClient, model: Path, data: Path, threads: int) -> Iterator[Window]:
    """Yield a function that times one window in a fresh worker of ``agent`` with the model loaded."""
    options = {"threads": threads}
    engine = agent.build(agent.put_blob(model), "fp32", "onnxruntime", options, 60)
    feed = {"x": np.load(data, allow_pickle=False)}
    with agent.load(engine.key, options, 60) as worker:

        def window(effort: Effort) -> list[float]:
            limits: dict[str, Any] = {"min_samples": 1, "max_samples": 10**6}
            timed = worker.time([feed], warmup=effort.warmup, seconds=effort.seconds, **limits)
            if not timed.telemetry["taken"]:
                raise AssertionError("the supervisor took no sample, so its cost was not measured")
            durations: list[float] = timed.duration.tolist()
            return durations

        yield window


@contextmanager
def by_bare_loop(model: Path, data: Path, threads: int) -> Iterator[Window]:
    """Yield a function that times one window in a fresh process of the plain script."""
    command = [sys.executable, str(BARE), str(model), str(data), str(threads)]
    # In its own session, as the agent is: Linux distributes processor time by session (autogroup).
    with subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, start_new_session=True
    ) as process:
        if process.stdin is None or process.stdout is None:
            raise AssertionError("the process has no pipes")
        to, back = process.stdin, process.stdout

        def window(effort: Effort) -> list[float]:
            print(effort.warmup, effort.seconds, file=to, flush=True)
            durations: list[float] = json.loads(back.readline())
            return durations

        yield window
        to.close()


def one_round(agent: Window, bare: Window, effort: Effort, *, agent_first: bool) -> Round:
    """Return pairs of windows, whose order alternates."""
    for side in (agent, bare):
        side(effort)  # the first window after loading warms up alone
    pairs = []
    for number in range(effort.pairs):
        order = (agent, bare) if (number % 2 == 0) == agent_first else (bare, agent)
        p50 = {side: statistics.median(side(effort)) for side in order}
        pairs.append(Pair(p50[agent], p50[bare]))
    return Round(pairs)


def measure(folder: Path, name: str, threads: int, effort: Effort) -> list[Round]:
    """Return ``ROUNDS`` rounds of a model that takes about as long as ``name`` states."""
    model, data = folder / f"{name}.onnx", folder / f"{name}.npy"
    np.save(data, sample(calibrated_chain(model, MODELS[name], threads)))
    rounds = []
    with open_target("cpu", TargetSpec(store=str(folder / "store"))).start_agent() as agent:
        agent.hold(secrets.token_hex(8), "benchmarks.overhead")
        for number in range(ROUNDS):
            with (
                through_agent(agent, model, data, threads) as ours,
                by_bare_loop(model, data, threads) as theirs,
            ):
                rounds.append(one_round(ours, theirs, effort, agent_first=number % 2 == 0))
    return rounds


def show(name: str, rounds: list[Round]) -> None:
    """Print one line for each round: the median p50 of each side, and the median ratio of the pairs."""
    table = Table(title=f"p50 of a model of about {name}", title_justify="left")
    for heading in ("round", "agent µs", "bare µs", "ratio"):
        table.add_column(heading, justify="right")
    for number, one in enumerate(rounds, 1):
        sides = [1e6 * statistics.median(p50) for p50 in zip(*one.pairs, strict=True)]
        table.add_row(str(number), *(f"{side:,.2f}" for side in sides), f"{one.ratio:.4f}")
    Console().print(table)


def main() -> int:
    """Print the tables; the last line has figures and bars."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="shorter windows, within a minute")
    parser.add_argument("--threads", type=int, default=1, help="intra-op threads of both sides (default 1)")
    arguments = parser.parse_args()
    figures = {}
    with tempfile.TemporaryDirectory() as folder:
        for name in MODELS:
            rounds = measure(Path(folder), name, arguments.threads, QUICK if arguments.quick else FULL)
            show(name, rounds)
            figures[name] = statistics.median(one.ratio for one in rounds)
            low, _, high = statistics.quantiles((one.ratio for one in rounds), n=4)
            if high - low > QUIET:
                print(f"the rounds differ by {high - low:.0%}: another process was running: end it and measure again")
    texts = ", ".join(f"{figure:.3f} ({name})" for name, figure in figures.items())
    print(f"overhead: {texts}; bar: at most {BAR}")
    return 0 if max(figures.values()) <= BAR else 1


if __name__ == "__main__":
    sys.exit(main())
