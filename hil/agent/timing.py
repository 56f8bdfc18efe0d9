"""Timing inferences back to back: warm up until stable, then each one host to host."""

import gc
import time
from array import array
from typing import Any, Callable, Dict, List, NamedTuple, Sequence

WARMUP_RULE = "v1: at least warmup seconds, until medians of two windows agree within 5 %, at most 4 x warmup + 1 s"
AGREE = 0.05
WINDOW_RUNS = 5

Call = Callable[[], Any]


class Warmup(NamedTuple):
    """How warming up went; ``stable`` is False when the cap came first."""

    runs: int
    seconds: float
    stable: bool


class Window(NamedTuple):
    """When timing may stop: after ``seconds`` and ``min_samples``, at ``max_samples``, or after ``budget`` seconds."""

    seconds: float
    min_samples: int
    max_samples: int
    budget: float


def warm_up(calls: Sequence[Call], seconds: float) -> Warmup:
    """Runs ``calls`` in turn by ``WARMUP_RULE``; a window lasts a quarter of ``seconds`` and five runs or more."""
    clock = time.perf_counter
    began = clock()
    cap = 4 * seconds + 1
    medians: List[float] = []
    runs = 0
    while seconds > 0:
        window = array("d")
        opened = clock()
        while len(window) < WINDOW_RUNS or clock() - opened < seconds / 4:
            before = clock()
            calls[runs % len(calls)]()
            window.append(clock() - before)
            runs += 1
            if clock() - began > cap:
                return Warmup(runs, clock() - began, stable=False)
        medians.append(sorted(window)[len(window) // 2])
        if clock() - began >= seconds and len(medians) > 1 and _agree(medians[-1], medians[-2]):
            return Warmup(runs, clock() - began, stable=True)
    return Warmup(0, 0.0, stable=False)


def _agree(one: float, other: float) -> bool:
    return abs(one - other) <= AGREE * max(one, other)


def measure(calls: Sequence[Call], window: Window) -> Dict[str, "array[float]"]:
    """Times ``calls`` in turn, every one of them; nothing is dropped.

    The loop around the timed call is kept to what a bare script would have, since it shows in the
    rate, and the garbage collector is off, since a collection would show in a sample.
    """
    clock = time.perf_counter
    start, duration = array("d"), array("d")
    began = clock()
    enough, latest = began + window.seconds, began + window.budget
    was_on = gc.isenabled()
    gc.collect()
    gc.disable()
    try:
        done = 0
        while done < window.max_samples:
            call = calls[done % len(calls)]
            before = clock()
            call()
            after = clock()
            start.append(before)
            duration.append(after - before)
            done += 1
            if after >= latest or (after >= enough and done >= window.min_samples):
                break
    finally:
        if was_on:
            gc.enable()
    return {"start": start, "duration": duration}


def soak(calls: Sequence[Call], runs: int, read: Callable[[], int], budget: float) -> Dict[str, "array[Any]"]:
    """``runs`` inferences with memory read about 200 times on the way.

    Returns ``t`` (seconds since the start), ``runs`` (inferences done) and ``rss`` (bytes), one value a reading.
    """
    clock = time.perf_counter
    began = clock()
    each = max(1, runs // 200)
    table: Dict[str, array[Any]] = {"t": array("d"), "runs": array("q"), "rss": array("q")}
    for done in range(runs + 1):
        late = clock() - began >= budget
        if done % each == 0 or done == runs or late:
            table["t"].append(clock() - began)
            table["runs"].append(done)
            table["rss"].append(read())
        if late or done == runs:
            break
        calls[done % len(calls)]()
    return table
