"""Measure growth of device memory over 10,000 inferences in a worker, and over 50 loads and unloads in one process.

Both read the usage of the whole GPU from its driver, so no other process may use it. ``cycles`` loads the engine
through the agent's own runtime, runs it and closes it, repeatedly in one process.
"""

from __future__ import annotations

from typing import Any

from benchmarks.results.judging.tensorrt import CYCLES, INFERENCES
from benchmarks.tensorrt.peers import Peer
from benchmarks.tensorrt.stage import LOAD_DEADLINE, Stage

SOAK_DEADLINE = 300.0


def measure(stage: Stage) -> int:
    """Run the whole benchmark; return the exit code."""
    rows: list[dict[str, Any]] = []
    with stage.agent() as agent:
        engine = stage.build(agent)
        plan = stage.plan(agent, engine)
        options = {"gpu": 0, "cuda": "ctypes"}
        with agent.load(engine.key, options, LOAD_DEADLINE) as worker:
            soak = worker.soak(stage.feed(), INFERENCES // (10 if stage.quick else 1), deadline=SOAK_DEADLINE)
        if soak.device is None:
            raise SystemExit("the soak read no device memory, so it cannot show a leak")
        columns = {"done": soak.runs, "device": soak.device, "resident": soak.rss}
        rows.append({"what": "inferences", **{name: values.tolist() for name, values in columns.items()}})
    for binding in ("ctypes",) if stage.quick else ("ctypes", "pycuda"):
        count = CYCLES // (5 if stage.quick else 1)
        with Peer(stage.python, "cycles", plan, stage.feed_file(), binding, count) as cycles:
            series = cycles.ready
        rows.append({"what": "cycles", "binding": binding, **series})
    for row in rows:
        first, last = row["device"][0] / 2**20, row["device"][-1] / 2**20
        print(f"{row['what']}: {row['done'][-1]}, device memory from {first:,.1f} to {last:,.1f} MiB")
    return stage.keep("tensorrt-leak", rows)
