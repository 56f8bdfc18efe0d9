"""What an engine costs: built cold, rebuilt with the timing cache, loaded from the store.

A cold build has no timing cache. For a warm build the engine's record is removed from the store and the timing cache
stays. Both are built in a fresh process, as a session's first engine, and in a process that has built before, as ``hil
build`` and pytest do for all but their first. Each build is recorded as the host waits for it, and as TensorRT's build
alone: a fresh process must start TensorRT's builder, which takes the same time with and without a cache. A cached
engine is requested and loaded; its time ends when it can run. For comparison, a bare script in a fresh process under
the same interpreter imports TensorRT, deserializes the same file and allocates buffers, which is the least that any
program must do.
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
"""Builds in a process that has built before. It is started by one more warm build, which precedes them."""


def timed_build(stage: Stage, agent: AgentClient, *, more: bool) -> tuple[BuiltEngine, float]:
    """Return the engine and the seconds until the host had it."""
    before = time.perf_counter()
    engine = stage.build(agent, more=more)
    return engine, time.perf_counter() - before


def forget(stage: Stage, engine: BuiltEngine, *, cold: bool) -> None:
    """Remove the engine's record from the store, and with ``cold`` the timing cache as well."""
    (stage.store / "engines" / f"{engine.key}.json").unlink()
    if cold:
        shutil.rmtree(stage.store / "timing")


def building(stage: Stage, agent: AgentClient) -> tuple[BuiltEngine, list[dict[str, Any]]]:
    """Run every kind of build. Raise ``SystemExit`` if the store had the engine, or for an unexpected process."""
    steps = FRESH[:1] if stage.quick else (*FRESH, ("warm", "fresh"), *KEPT)
    engines: list[BuiltEngine] = []
    rows = []
    for number, (step, process) in enumerate(steps):
        if engines:
            forget(stage, engines[-1], cold=step == "cold")
        engine, seconds = timed_build(stage, agent, more=len(FRESH) <= number < len(steps) - 1)
        if engine.cached:
            raise SystemExit(f"the store {stage.store} has the engine already: pass an empty --work folder")
        engines.append(engine)
        about = engine.about
        if about["process"] != process:
            raise SystemExit(f"built in a {about['process']} process instead of a {process} one")
        seconds_by_step = {name: about[f"seconds_{name}"] for name in ("builder", "parse", "build")}
        row = {"step": step, "process": process, "seconds": seconds, "worker": engine.seconds, **seconds_by_step}
        rows.append({**row, "timing_cache": about.get("timing_cache"), "warnings": about.get("warnings")})
        details = ", ".join(f"{name} {value:.2f} s" for name, value in seconds_by_step.items())
        print(f"{step}, {process}: {seconds:.2f} s ({details}; timing cache: {about.get('timing_cache')})", flush=True)
    return engines[-1], rows


def cached(stage: Stage, agent: AgentClient, engine: BuiltEngine) -> list[dict[str, Any]]:
    """Take the engine from the store and load it, alternating with the bare script."""
    rows: list[dict[str, Any]] = []
    arguments = (stage.plan(agent, engine), stage.feed_file(), "ctypes", 0, 1)
    for number in range(2 if stage.quick else CACHED):
        before = time.perf_counter()
        engine_again = stage.build(agent)
        with agent.load(engine_again.key, {"gpu": 0, "cuda": "ctypes"}, LOAD_DEADLINE):
            seconds = time.perf_counter() - before
        if not engine_again.cached:
            raise SystemExit("the engine was built again although the store had it")
        with Peer(stage.python, "bare", *arguments) as bare:
            bare_seconds, deserialize = bare.seconds, bare.ready["deserialize"]
        rows += [
            {"step": "cached", "round": number, "seconds": seconds},
            {"step": "bare", "round": number, "seconds": bare_seconds, "deserialize": deserialize},
        ]
        bare_text = f"{bare_seconds:.2f} s, {deserialize:.2f} s of it deserializing"
        print(f"cached: {seconds:.2f} s; bare process: {bare_text}", flush=True)
    return rows


def measure(stage: Stage) -> int:
    """Run the whole benchmark; return the exit code."""
    stage.exported(stage.network)
    with stage.agent() as agent:
        engine, rows = building(stage, agent)
        rows += cached(stage, agent, engine)
    return stage.keep("tensorrt-provision", rows)
