"""What an engine costs: built cold, built again with the timing cache, taken from the store.

Cold has a store of its own, empty before. For a warm build the engine's record is taken out of that store and the
timing cache stays. Each is told twice: as the host waits for it, and TensorRT's build alone, without the start of its
builder, which a process of its own has to load each time. A cached engine is asked for and loaded, ready to run; beside
it a bare script in a fresh process under the same interpreter imports TensorRT, deserializes the same file and makes
buffers: what nobody can do without.
"""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any

from benchmarks.tensorrt.peers import Peer
from benchmarks.tensorrt.stage import LOAD_DEADLINE, Stage

if TYPE_CHECKING:
    from hil.targets.answers import BuiltEngine
    from hil.targets.client import AgentClient

WARM, CACHED = 2, 5


def timed_build(stage: Stage, agent: AgentClient) -> tuple[BuiltEngine, float]:
    """The engine and the seconds it took to have it, as the host sees it."""
    before = time.perf_counter()
    engine = stage.build(agent)
    return engine, time.perf_counter() - before


def building(stage: Stage, agent: AgentClient) -> tuple[BuiltEngine, list[dict[str, Any]]]:
    """Cold once, warm some times. Raises ``SystemExit`` where the store had the engine already."""
    rows = []
    for number in range(1 if stage.quick else 1 + WARM):
        engine, seconds = timed_build(stage, agent)
        if engine.cached:
            raise SystemExit(f"the store {stage.store} has the engine already: give an empty --work folder")
        step = "warm" if number else "cold"
        cache = engine.about.get("timing_cache")
        took = {name: engine.about[f"seconds_{name}"] for name in ("builder", "parse", "build")}
        rows.append({"step": step, "seconds": seconds, "worker": engine.seconds, **took, "timing_cache": cache})
        told = ", ".join(f"{name} {value:.2f} s" for name, value in took.items())
        print(f"{step}: {seconds:.2f} s ({told}; timing cache: {cache})", flush=True)
        if number < WARM and not stage.quick:
            (stage.store / "engines" / f"{engine.key}.json").unlink()
    return engine, rows


def cached(stage: Stage, agent: AgentClient, engine: BuiltEngine) -> list[dict[str, Any]]:
    """Taken from the store and loaded, beside the bare script, in turns."""
    rows: list[dict[str, Any]] = []
    arguments = (stage.plan(agent, engine), stage.feed_file(), "ctypes", 0, 1)
    for number in range(2 if stage.quick else CACHED):
        before = time.perf_counter()
        again = stage.build(agent)
        with agent.load(again.key, {"gpu": 0, "cuda": "ctypes"}, LOAD_DEADLINE):
            seconds = time.perf_counter() - before
        if not again.cached:
            raise SystemExit("the engine was built again where the store had it")
        with Peer(stage.python, "bare", *arguments) as bare:
            took, inside = bare.seconds, bare.ready["deserialize"]
        rows += [
            {"step": "cached", "round": number, "seconds": seconds},
            {"step": "bare", "round": number, "seconds": took, "deserialize": inside},
        ]
        print(f"cached: {seconds:.2f} s; bare process: {took:.2f} s, {inside:.2f} s of it deserializing", flush=True)
    return rows


def measure(stage: Stage) -> int:
    """The whole benchmark; the exit code."""
    stage.exported(stage.network)
    with stage.agent() as agent:
        engine, rows = building(stage, agent)
        rows += cached(stage, agent, engine)
    return stage.keep("tensorrt-provision", rows)
