"""What an engine costs: built cold, built again with the timing cache, taken from the store.

Cold has no timing cache; for a warm build the engine's record is taken out of the store and the timing cache stays.
Both are built twice over: each in a fresh process, as a session's first engine, and one after the other in a process
that has built before, as ``hil build`` and pytest make all but their first. Each is told as the host waits for it, and
TensorRT's build alone: a fresh process has to load TensorRT's builder, the same seconds with and without a cache. A
cached engine is asked for and loaded, ready to run; beside it a bare script in a fresh process under the same
interpreter imports TensorRT, deserializes the same file and makes buffers: what nobody can do without.
"""

from __future__ import annotations

import shutil
import time
from typing import TYPE_CHECKING, Any

from benchmarks.tensorrt.peers import Peer
from benchmarks.tensorrt.stage import LOAD_DEADLINE, Stage

if TYPE_CHECKING:
    from hil.targets.answers import BuiltEngine
    from hil.targets.client import AgentClient

WARM, CACHED = 2, 5
FRESH = (("cold", "fresh"), *[("warm", "fresh")] * WARM)
KEPT = (("cold", "kept"), *[("warm", "kept")] * WARM)
"""After one more warm build in a fresh process, which stays."""


def timed_build(stage: Stage, agent: AgentClient, *, more: bool) -> tuple[BuiltEngine, float]:
    """The engine and the seconds it took to have it, as the host sees it."""
    before = time.perf_counter()
    engine = stage.build(agent, more=more)
    return engine, time.perf_counter() - before


def forget(stage: Stage, engine: BuiltEngine, *, cold: bool) -> None:
    """The store knows nothing of the engine any more; where it is to be ``cold`` no timing cache either."""
    (stage.store / "engines" / f"{engine.key}.json").unlink()
    if cold:
        shutil.rmtree(stage.store / "timing")


def building(stage: Stage, agent: AgentClient) -> tuple[BuiltEngine, list[dict[str, Any]]]:
    """Every kind of build. Raises ``SystemExit`` where the store had the engine, or a process was not as asked for."""
    steps = FRESH[:1] if stage.quick else (*FRESH, ("warm", "fresh"), *KEPT)
    engines: list[BuiltEngine] = []
    rows = []
    for number, (step, process) in enumerate(steps):
        if engines:
            forget(stage, engines[-1], cold=step == "cold")
        engine, seconds = timed_build(stage, agent, more=len(FRESH) <= number < len(steps) - 1)
        if engine.cached:
            raise SystemExit(f"the store {stage.store} has the engine already: give an empty --work folder")
        engines.append(engine)
        about = engine.about
        if about["process"] != process:
            raise SystemExit(f"built in a {about['process']} process where a {process} one was asked for")
        took = {name: about[f"seconds_{name}"] for name in ("builder", "parse", "build")}
        row = {"step": step, "process": process, "seconds": seconds, "worker": engine.seconds, **took}
        rows.append({**row, "timing_cache": about.get("timing_cache"), "warnings": about.get("warnings")})
        told = ", ".join(f"{name} {value:.2f} s" for name, value in took.items())
        print(f"{step}, {process}: {seconds:.2f} s ({told}; timing cache: {about.get('timing_cache')})", flush=True)
    return engines[-1], rows


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
