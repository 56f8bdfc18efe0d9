"""The bars of TensorRT against bare loops and bare processes, of its memory and of its faults, on a GPU."""

from __future__ import annotations

import statistics
from typing import TYPE_CHECKING

from benchmarks.results.judging.bars import CONFIDENCE, bar, finite
from hil.stats import percentile_bounds, slope_interval

if TYPE_CHECKING:
    from collections.abc import Sequence

    from benchmarks.results.judging.bars import Bar, Row

ROUNDS = 10
DEVICE_BAR, HOST_BAR = 0.01, 0.02
WARM_BAR, CACHED_BAR = 4.0, 0.5
USED = ("warm", "partly")
REPEATS = {"cold": 1, "warm": 2, "cached": 5, "bare": 5}
"""Fewest builds and loads of each kind."""

STREAMS = (1, 2, 4, 8)
STREAMS_BAR = 0.98
INFERENCES, CYCLES = 10_000, 50
SETTLED = {"inferences": 0.5, "cycles": 0.2}
"""Share of the readings that is skipped at the start, while allocators and the driver's caches fill."""

GROWTH_BARS = {"inferences": 64.0, "cycles": 256.0}
"""KiB per 1,000 inferences, and per cycle of loading, running and unloading. The driver allocates 2 MiB at a time, so
one allocation lost in 30,000 inferences or in 8 cycles would show."""

FAULTS = (
    "worker killed mid-inference",
    "impossible workspace",
    "model too large for its memory limit",
    "GPU memory taken by somebody else",
    "corrupt cached engine",
    "engine of another TensorRT version",
    "file that is no engine",
    "sticky CUDA error",
)


def pair_ratio(row: Row, clock: str) -> float:
    """Return a round's figure: the median over its pairs of our p50 divided by the bare loop's."""
    ours, bare = row["ours"][clock], row["bare"][clock]
    return float(statistics.median(a / b for a, b in zip(ours, bare, strict=True)))


def honesty(rows: Sequence[Row]) -> list[Bar]:
    """Return bars for our p50 relative to a bare loop's, for each CUDA binding with and without a CUDA graph."""
    bars = []
    for binding in ("ctypes", "pycuda"):
        for graph in (False, True):
            mine = [row for row in rows if row.get("binding") == binding and row.get("graph") is graph]
            complete = sorted(row["round"] for row in mine) == list(range(ROUNDS))
            name = f"{binding}, {'CUDA graph' if graph else 'no graph'}"
            for clock, limit in (("device", DEVICE_BAR), ("host", HOST_BAR)):
                ratios = [pair_ratio(row, clock) for row in mine]
                off = abs(statistics.median(ratios) - 1) if complete else None
                low, high = (min(ratios), max(ratios)) if complete else (None, None)
                bars.append(bar(f"{clock} p50 beside the bare loop: {name}", off, limit, low=low, high=high))
    return bars


def provision(rows: Sequence[Row]) -> list[Bar]:
    """Return bars for the time that the timing cache and the engine cache save.

    A timing cache can only save time within TensorRT's build itself. The time that the host waits for a session's first
    engine includes the start of TensorRT's builder, which takes equally long with and without a cache. Later engines of
    ``hil build`` or a pytest run do not wait for it. All three times are judged.
    """
    fresh, kept = ([row for row in rows if row.get("process") == process] for process in ("fresh", "kept"))
    medians = {
        step: statistics.median(seconds)
        for step in ("cached", "bare")
        if len(seconds := [row["seconds"] for row in rows if row["step"] == step]) >= REPEATS[step]
    }
    extra = medians["cached"] - medians["bare"] if {"cached", "bare"} <= set(medians) else None
    figures = (
        ("TensorRT's cold build, by one with a warm timing cache", faster(fresh, "build")),
        ("a session's first engine cold, by one with a warm cache, as the host waits", faster(fresh, "seconds")),
        (
            "a later engine of hil build cold, by one with a warm cache, as the host waits",
            faster(kept, "seconds"),
        ),
    )
    return [
        *(bar(name, figure, WARM_BAR, unit="x", at_least=True) for name, figure in figures),
        bar("cached engine, over a bare process that deserializes it", extra, CACHED_BAR, unit="s"),
    ]


def faster(rows: Sequence[Row], what: str) -> float | None:
    """Return the median cold build divided by the median warm one.

    Return None if builds are missing or a warm one did not use the timing cache.
    """
    seconds = {step: [float(row[what]) for row in rows if row["step"] == step] for step in ("cold", "warm")}
    used = all(row.get("timing_cache") in USED for row in rows if row["step"] == "warm")
    complete = all(len(values) >= REPEATS[step] for step, values in seconds.items())
    return statistics.median(seconds["cold"]) / statistics.median(seconds["warm"]) if used and complete else None


def rate(row: Row) -> float:
    """Return the inferences per second of one window."""
    return float(row["runs"]) / float(row["seconds"])


def streams(rows: Sequence[Row]) -> list[Bar]:
    """Return a bar: our highest rate divided by the bare loop's, each at the number of streams that suits it best."""
    name = "rate at the best number of streams, by the bare loop's"
    rates: dict[str, dict[int, list[float]]] = {"ours": {}, "bare": {}}
    for row in sorted(rows, key=lambda row: int(row["round"])):
        rates[row["side"]].setdefault(row["streams"], []).append(rate(row))
    complete = all(len(side.get(count, ())) >= ROUNDS for side in rates.values() for count in STREAMS)
    if not complete:
        return [bar(name, None, STREAMS_BAR, at_least=True)]
    ours, bare = (max(side.values(), key=statistics.median) for side in (rates["ours"], rates["bare"]))
    ratios = [a / b for a, b in zip(ours, bare, strict=True)]
    low, high = percentile_bounds(ratios, 0.5, CONFIDENCE)
    return [bar(name, statistics.median(ratios), STREAMS_BAR, at_least=True, low=low, high=high)]


def leak(rows: Sequence[Row]) -> list[Bar]:
    """Return bars for the largest plausible growth of device memory: the upper end of the slope's interval."""
    bars = []
    for what, binding, required, per, unit in (
        ("inferences", "", INFERENCES, 1000, "KiB/1,000 inferences"),
        ("cycles", "ctypes", CYCLES, 1, "KiB/cycle"),
        ("cycles", "pycuda", CYCLES, 1, "KiB/cycle"),
    ):
        name = f"device memory grows over {required:,} " + (f"loads and unloads, {binding}" if binding else what)
        series = next((row for row in rows if (row["what"], row.get("binding", "")) == (what, binding)), None)
        if series is None or series["done"][-1] < required or min(series["device"]) <= 0:
            bars.append(bar(name, None, GROWTH_BARS[what], unit=unit))
            continue
        skipped = round(SETTLED[what] * len(series["done"]))
        slopes = slope_interval(series["done"][skipped:], series["device"][skipped:], CONFIDENCE)
        _, low, high = (slope * per / 1024 for slope in slopes)
        bars.append(bar(name, finite(high), GROWTH_BARS[what], unit=unit, low=low, high=high))
    return bars


def faults(rows: Sequence[Row]) -> list[Bar]:
    """Return a bar for each fault: no pass, a clear message, and a fresh worker afterwards."""
    bars = []
    for name in FAULTS:
        mine = [row for row in rows if row["fault"] == name]
        good = [row for row in mine if row["verdict"] != "passed" and _clear(row["message"]) and row["fresh"] is True]
        share = len(good) / len(mine) if mine else None
        bars.append(bar(f"one clear verdict, then a fresh worker: {name}", share, 1, at_least=True))
    return bars


def _clear(message: str) -> bool:
    return bool(message.strip()) and "Traceback" not in message
