"""What measuring through the agent adds to the p50 of host and GPU, compared with a bare loop on the same engine file.

Measured for pycuda and ctypes, with and without a CUDA graph, in ten rounds of neighbouring windows (AB BA AB …), as in
``benchmarks.overhead``. A pair's figure is the ratio of the two p50, a round's the median of its pairs, the benchmark's
the median of its rounds. Both processes are restarted for each round. Polygraphy's ``TrtRunner`` is also measured, if
the interpreter has it; it is reported and not judged.
"""

from __future__ import annotations

import statistics
import subprocess
from typing import TYPE_CHECKING, Any

from rich.console import Console
from rich.table import Table

from benchmarks.results.judging.tensorrt import ROUNDS, pair_ratio
from benchmarks.tensorrt.peers import ROOT, Peer
from benchmarks.tensorrt.stage import LOAD_DEADLINE, Stage

if TYPE_CHECKING:
    from pathlib import Path

    from hil.targets.answers import BuiltEngine
    from hil.targets.client import AgentClient
    from hil.targets.engine_worker import EngineWorker

CONFIGURATIONS = [(binding, graph) for binding in ("ctypes", "pycuda") for graph in (False, True)]
RESTARTED_EACH = 1  # two processes with the same loop and engine differed by 2 % on the GPU
FULL, QUICK = (0.03, 0.12, 4), (0.02, 0.06, 2)  # seconds of warm-up, seconds of timing, pairs per round

P50 = dict[str, float]


def window_of_ours(worker: EngineWorker, feed: dict[str, Any], warmup: float, seconds: float) -> P50:
    """Return the p50 in seconds by both clocks, through the agent."""
    timed = worker.time([feed], warmup=warmup, seconds=seconds, min_samples=1, max_samples=10**6)
    if timed.device is None or not timed.telemetry["taken"]:
        raise SystemExit("no device clock or no telemetry: the claim was not measured")
    host, device = statistics.median(timed.duration.tolist()), statistics.median(timed.device.tolist())
    return {"host": host, "device": device, "n": float(timed.duration.size)}


def one_round(stage: Stage, worker: EngineWorker, bare: Peer, number: int) -> dict[str, Any]:
    """Time pairs of windows in alternating order and return the row."""
    warmup, seconds, pairs = QUICK if stage.quick else FULL
    feed = stage.feed()
    sides: dict[str, dict[str, list[float]]] = {side: {"host": [], "device": [], "n": []} for side in ("ours", "bare")}
    for pair in range(pairs):
        order = ("ours", "bare") if (pair + number) % 2 == 0 else ("bare", "ours")
        for side in order:
            if side == "ours":
                p50 = window_of_ours(worker, feed, warmup, seconds)
            else:
                p50 = bare.ask(op="time", warmup=warmup, seconds=seconds)
            for name, values in sides[side].items():
                values.append(p50[name])
    return {"round": number, **sides}


def configuration(
    stage: Stage, agent: AgentClient, engine: BuiltEngine, binding: str, *, graph: bool
) -> list[dict[str, Any]]:
    """Return all rounds of one binding, with or without a graph."""
    rows = []
    for start in range(0, ROUNDS, RESTARTED_EACH):
        options = {"gpu": 0, "cuda": binding, "cuda_graph": graph, "streams": 1}
        arguments = (stage.plan(agent, engine), stage.feed_file(), binding, int(graph), 1)
        with agent.load(engine.key, options, LOAD_DEADLINE) as worker, Peer(stage.python, "bare", *arguments) as bare:
            if worker.about.get("cuda") != binding:
                raise SystemExit(f"{worker.about.get('cuda')} was used instead of {binding}")
            window_of_ours(worker, stage.feed(), 0.5, 0.1)  # the first window after loading is a warm-up
            bare.ask(op="time", warmup=0.5, seconds=0.1)
            for number in range(start, min(start + RESTARTED_EACH, ROUNDS)):
                row = one_round(stage, worker, bare, number)
                rows.append({"network": stage.network, "binding": binding, "graph": graph, **row})
    return rows


def polygraphy(stage: Stage, plan: Path) -> list[dict[str, Any]]:
    """Return the p50 of Polygraphy's runner by the host's clock; an empty list if its script fails."""
    command = [stage.python, "-B", "-m", "benchmarks.tensorrt.polygraphy_loop", str(plan), str(stage.feed_file())]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=120, check=False)
    if done.returncode != 0:
        print(f"for comparison, Polygraphy: not measured: {(done.stderr.strip().splitlines() or ['no output'])[-1]}")
        return []
    p50 = float(done.stdout.split()[-1])
    print(f"for comparison, Polygraphy's TrtRunner: host p50 {1e6 * p50:,.1f} µs")
    return [{"network": stage.network, "binding": "polygraphy", "host": p50}]


def show(rows: list[dict[str, Any]]) -> None:
    """Print one line per round: each side's median p50, and the ratios."""
    table = Table(title="p50 through the agent and by a bare loop", title_justify="left")
    for heading in ("binding", "graph", "round", "host µs", "bare µs", "ratio", "GPU µs", "bare µs", "ratio"):
        table.add_column(heading, justify="right")
    for row in rows:
        cells = [row["binding"], "yes" if row["graph"] else "no", str(row["round"])]
        for clock in ("host", "device"):
            cells += [f"{1e6 * statistics.median(row[side][clock]):,.1f}" for side in ("ours", "bare")]
            cells.append(f"{pair_ratio(row, clock):.4f}")
        table.add_row(*cells)
    Console(width=110).print(table)


def measure(stage: Stage) -> int:
    """Run the whole benchmark; return the exit code."""
    rows: list[dict[str, Any]] = []
    with stage.agent() as agent:
        engine = stage.build(agent)
        plan = stage.plan(agent, engine)
        for binding, graph in CONFIGURATIONS:
            rows += configuration(stage, agent, engine, binding, graph=graph)
    show(rows)
    return stage.keep("tensorrt-honesty", rows + polygraphy(stage, plan))
