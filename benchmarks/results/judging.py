"""What follows from a benchmark's raw rows: its bars, as pure functions.

A judge takes the rows as the file keeps them and returns each bar with its figure. Rows that lack a round, a
configuration or a step give a bar that is missed with no figure: less was measured than is claimed.
"""

from __future__ import annotations

import statistics
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any

from benchmarks.networks import NETWORKS
from benchmarks.projects import BUNDLED, PARITY_BARS
from benchmarks.verdicts import comparison, limits, peers, percentile
from benchmarks.verdicts.table import TRIALS, Claims, Sense, bounds, within
from hil.stats import percentile_bounds, slope_interval
from hil.stats.runs import compare_pairs, compare_runs, judge_change

Row = Mapping[str, Any]
Bar = dict[str, Any]

ROUNDS = 10
CONFIDENCE = 0.95
DEVICE_BAR, HOST_BAR = 0.01, 0.02
WARM_BAR, CACHED_BAR = 4.0, 0.5
REPEATS = {"cold": 1, "warm": 2, "cached": 5, "bare": 5}
"""Fewest builds and loads of each kind."""

STREAMS = (1, 2, 4, 8)
STREAMS_BAR = 0.98
INFERENCES, CYCLES = 10_000, 50
SETTLED = {"inferences": 0.5, "cycles": 0.2}
"""Share of the readings that is left out at the start: allocators and the driver's caches fill then."""

GROWTH_BARS = {"inferences": 64.0, "cycles": 256.0}
"""KiB per 1,000 inferences, and per cycle of loading, running and unloading: the driver hands out 2 MiB at a time,
so that one piece lost in 30,000 inferences or in 8 cycles would show."""

AA_MODELS = ("digits", "arm")
AA_ROUNDS, AA_PAIRS, AA_SIZE_PAIRS = 10, 9, 24
"""Each round compares every model five times with itself and once with its slowed copy; fixed before the first."""

ALARM_BAR, FOUND_BAR = 0.01, 0.95
SLOWDOWN_BAR = 0.055
"""The slowdown that is called one of 5 % is at most that."""

PARITY_PLANTED, PARITY_NAMED = 40, 0.9
"""Planted faults, as many healthy engines, and the share of faults whose node must be named."""

PARITY_PEER, PARITY_HOLES = 0.5, 8
"""What a comparison may take of Polygraphy's time and memory, and how many comparisons must not pass."""

MODELS = (*BUNDLED, *NETWORKS)
DEVICE = ("gpu", "device")

HISTORY_RUNS, HISTORY_MEASUREMENTS, HISTORY_REPEATS = 20_000, 1_000_000, 11
HISTORY_BAR = 1.0
"""Seconds that the slowest of the repeated matrix queries may take."""
DATABASES = ("SQLite", "PostgreSQL")
FEWEST_KILLS, FEWEST_KEPT = 50, 200
"""Writers that were killed and runs that they were told are kept, at least: less says little."""
SPOILED = tuple(
    f"{what}, {when}"
    for what in ("no database", "cut in half", "read-only")
    for when in ("before the run", "while it measured")
)

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

DEPLOYMENTS = 200
DEPLOY_FAULTS = (
    "host killed",
    "agent killed",
    "board's processes killed",
    "power cut",
    "link down",
    "disk full",
    "service does not start",
    "service does not start, host killed",
    "health check hangs",
    "health check hangs, board's processes killed",
)
"""What happens to deployments, one after the other."""
UPLOAD_SIZE, UPLOAD_ROUNDS, UPLOAD_BAR = 512 << 20, 5, 1.0
"""Bytes of a new file each round, rounds on each way, and our speed by that of ``scp``."""

SESSION_ROUNDS, SESSION_BAR = 7, 0.5
PARITY_SAMPLES, PARITY_ROUNDS, PARITY_WAY_BAR = 1000, 7, 1.3
ROUND_TRIPS = (0, 40)
"""Milliseconds between host and board."""

TELEMETRY_ROUNDS, TELEMETRY_BAR = 8, 1.01
INT8_FAULTS = (
    "cache of another model",
    "cache of another data set",
    "cache of another version",
    "renamed tensors",
    "4 images",
    "one class only",
    "other preprocessing",
    "constant images",
    "an outlier that stretches a range",
    "validation data in the calibration set",
    "a scale of zero",
    "a truncated cache",
)
INT8_SEEDS, INT8_HEALTHY = 3, 12
"""Draws of each fault, and of healthy calibrations."""


def bar(  # noqa: PLR0913 - what a bar is, named at each call
    name: str,
    figure: float | None,
    limit: float,
    *,
    unit: str = "",
    at_least: bool = False,
    low: float | None = None,
    high: float | None = None,
) -> Bar:
    """One figure against its limit; no figure is never met."""
    figure = None if figure is None else float(figure)
    met = figure is not None and (figure >= limit if at_least else figure <= limit)
    sense = "at least" if at_least else "at most"
    bounds = {"low": _finite(low), "high": _finite(high)}
    return {"name": name, "figure": figure, "unit": unit, "sense": sense, "limit": float(limit), "met": met, **bounds}


def _finite(value: float | None) -> float | None:
    return None if value is None or value in {float("inf"), float("-inf")} else float(value)


def pair_ratio(row: Row, clock: str) -> float:
    """A round's figure: the median over its pairs of neighbouring windows of our p50 by the bare loop's."""
    ours, bare = row["ours"][clock], row["bare"][clock]
    return float(statistics.median(a / b for a, b in zip(ours, bare, strict=True)))


def honesty(rows: Sequence[Row]) -> list[Bar]:
    """How far our p50 is from a bare loop's, for each CUDA binding with and without a CUDA graph."""
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
    """What the timing cache and the engine cache save.

    A timing cache can only save time within TensorRT's build itself, which is judged; that a fresh process starts
    TensorRT's builder, the same seconds with and without one, stands in the rows.
    """
    seconds = {step: [row["seconds"] for row in rows if row["step"] == step] for step in ("cached", "bare")}
    seconds |= {step: [row["build"] for row in rows if row["step"] == step] for step in ("cold", "warm")}
    used = all(row.get("timing_cache") == "warm" for row in rows if row["step"] == "warm")
    middle = {step: statistics.median(taken) for step, taken in seconds.items() if len(taken) >= REPEATS[step]}
    faster = middle["cold"] / middle["warm"] if used and {"cold", "warm"} <= set(middle) else None
    more = middle["cached"] - middle["bare"] if {"cached", "bare"} <= set(middle) else None
    return [
        bar("TensorRT's cold build, by one with a warm timing cache", faster, WARM_BAR, unit="x", at_least=True),
        bar("cached engine, over a bare process that deserializes it", more, CACHED_BAR, unit="s"),
    ]


def rate(row: Row) -> float:
    """Inferences a second of one window."""
    return float(row["runs"]) / float(row["seconds"])


def streams(rows: Sequence[Row]) -> list[Bar]:
    """Our best rate by the bare loop's best: each at the number of streams with its highest median."""
    name = "rate at the best number of streams, by the bare loop's"
    rates: dict[str, dict[int, list[float]]] = {"ours": {}, "bare": {}}
    for row in sorted(rows, key=lambda row: int(row["round"])):
        rates[row["side"]].setdefault(row["streams"], []).append(rate(row))
    whole = all(len(side.get(count, ())) >= ROUNDS for side in rates.values() for count in STREAMS)
    if not whole:
        return [bar(name, None, STREAMS_BAR, at_least=True)]
    ours, bare = (max(side.values(), key=statistics.median) for side in (rates["ours"], rates["bare"]))
    ratios = [a / b for a, b in zip(ours, bare, strict=True)]
    low, high = percentile_bounds(ratios, 0.5, CONFIDENCE)
    return [bar(name, statistics.median(ratios), STREAMS_BAR, at_least=True, low=low, high=high)]


def leak(rows: Sequence[Row]) -> list[Bar]:
    """By how much device memory can have grown at most: the upper end of the slope's interval."""
    bars = []
    for what, binding, wanted, per, unit in (
        ("inferences", "", INFERENCES, 1000, "KiB/1,000 inferences"),
        ("cycles", "ctypes", CYCLES, 1, "KiB/cycle"),
        ("cycles", "pycuda", CYCLES, 1, "KiB/cycle"),
    ):
        name = f"device memory grows over {wanted:,} " + (f"loads and unloads, {binding}" if binding else what)
        series = next((row for row in rows if (row["what"], row.get("binding", "")) == (what, binding)), None)
        if series is None or series["done"][-1] < wanted or min(series["device"]) <= 0:
            bars.append(bar(name, None, GROWTH_BARS[what], unit=unit))
            continue
        skipped = round(SETTLED[what] * len(series["done"]))
        slopes = slope_interval(series["done"][skipped:], series["device"][skipped:], CONFIDENCE)
        _, low, high = (slope * per / 1024 for slope in slopes)
        bars.append(bar(name, _finite(high), GROWTH_BARS[what], unit=unit, low=low, high=high))
    return bars


def suites(model: str, rows: Sequence[Row]) -> list[Bar]:
    """Parity of the model in each precision that has a bar, and whether the report told each miss, on this GPU."""
    parity = [row for row in rows if row["check"] == "parity.outputs"]
    bars = [
        bar(f"relative error, {row['model']} {row['precision']}", row["max_rel"], PARITY_BARS[row["precision"]])
        for row in parity
        if row["precision"] in PARITY_BARS
    ]
    missed = [one["name"] for one in bars if not one["met"]]
    judged = {f"relative error, {row['model']} {row['precision']}": row for row in parity}
    silent = [name for name in missed if judged[name]["verdict"] != "failed" or not judged[name]["reason"]]
    compared = {(row["model"], row["precision"]) for row in parity if row["max_rel"] is not None}
    wanted = {(model, precision) for precision in (*PARITY_BARS, "int8")} | {(f"{model}-implicit", "int8")}
    lacking = wanted - compared
    elsewhere = [
        row
        for row in rows
        if row["verdict"] != "not_run" and not row["on_host"] and (row["executed_on"], row["evidence"]) != DEVICE
    ]
    return [
        *bars,
        bar("misses that the report does not tell", len(silent) if bars else None, 0),
        bar("engines that were not compared", len(lacking), 0),
        bar("checks of an engine without evidence that it ran on this GPU", len(elsewhere) if rows else None, 0),
    ]


def faults(rows: Sequence[Row]) -> list[Bar]:
    """Each fault: one verdict that is no pass, with one message, and a fresh worker for the next check."""
    bars = []
    for name in FAULTS:
        mine = [row for row in rows if row["fault"] == name]
        good = [row for row in mine if row["verdict"] != "passed" and _clear(row["message"]) and row["fresh"] is True]
        share = len(good) / len(mine) if mine else None
        bars.append(bar(f"one clear verdict, then a fresh worker: {name}", share, 1, at_least=True))
    return bars


def _clear(message: str) -> bool:
    return bool(message.strip()) and "Traceback" not in message


def deploy_faults(rows: Sequence[Row]) -> list[Bar]:
    """Each kind of fault: the old or the new release ran wholly afterwards, and was told to; and how many runs."""
    bars = []
    for name in DEPLOY_FAULTS:
        mine = [row for row in rows if row["fault"] == name]
        share = sum(row["held"] is True and row["runs"] in {"old", "new"} for row in mine) / len(mine) if mine else None
        bars.append(bar(f"old or new release, wholly, and told: {name}", share, 1, at_least=True))
    return [*bars, bar("deployments with a fault at a random moment", len(rows), DEPLOYMENTS, at_least=True)]


def ssh(rows: Sequence[Row]) -> list[Bar]:
    """What a network costs: an upload beside ``scp``, a second session beside a bare runtime, parity with a delay."""
    bars = []
    for trip in ROUND_TRIPS:
        mine = [row for row in rows if row["part"] == "upload" and row["round_trip"] == trip]
        ratios = [row["scp"] / row["ours"] for row in mine if row["size"] >= UPLOAD_SIZE]
        name = f"upload of 512 MiB at {trip} ms round trip, by scp's speed"
        bars.append(_middle(name, ratios, UPLOAD_ROUNDS, UPLOAD_BAR, at_least=True))
    near = [row for row in rows if row["part"] == "session" and row["round_trip"] == 0]
    more = [row["ours"] - row["bare"] for row in near]
    bars.append(_middle("second session, over ssh and a bare runtime", more, SESSION_ROUNDS, SESSION_BAR, unit="s"))
    sent = sum(row["uploaded"] for row in rows if row["part"] == "session")
    enough = len(near) >= SESSION_ROUNDS
    bars.append(bar("uploaded by second sessions", sent if enough else None, 0, unit="B"))
    compared = [row for row in rows if row["part"] == "parity" and row["samples"] >= PARITY_SAMPLES]
    ratios = [row["far"] / row["near"] for row in compared]
    name = "parity over 1,000 samples at 40 ms round trip, by that at 0 ms"
    return [*bars, _middle(name, ratios, PARITY_ROUNDS, PARITY_WAY_BAR)]


def _middle(  # noqa: PLR0913 - what a bar is, named at each call
    name: str, figures: Sequence[float], rounds: int, limit: float, *, unit: str = "", at_least: bool = False
) -> Bar:
    """The median of at least so many rounds, between the least and the most of them."""
    if len(figures) < rounds:
        return bar(name, None, limit, unit=unit, at_least=at_least)
    middle = statistics.median(figures)
    return bar(name, middle, limit, unit=unit, at_least=at_least, low=min(figures), high=max(figures))


def telemetry(rows: Sequence[Row]) -> list[Bar]:
    """The p50 with the sampler by that without: the median over rounds of the median over neighbouring windows."""
    ratios = [statistics.median(a / b for a, b in zip(row["with"], row["without"], strict=True)) for row in rows]
    return [_middle("p50 with the sampler, by that without", ratios, TELEMETRY_ROUNDS, TELEMETRY_BAR)]


def aa_called(row: Row, *, paired: bool = True) -> str:
    """What is called of one comparison: the pairs' ratios, or each side's own times as runs of one session."""
    first, second, ratios = (list(side) for side in zip(*row["pairs"], strict=True))
    found = compare_pairs(ratios) if paired else compare_runs([first], [second])
    return judge_change(found).value


def aa(rows: Sequence[Row]) -> list[Bar]:
    """False alarms among all A/A comparisons, slowdowns found, and how large those truly were.

    A change that is called either way is a false alarm. Bounds of a share are one-sided at 95 %.
    """
    same = [row for row in rows if row["kind"] == "same" and len(row["pairs"]) == AA_PAIRS]
    slower = [row for row in rows if row["kind"] == "slowed" and len(row["pairs"]) == AA_PAIRS]
    of_each = {(model, kind, count) for model in AA_MODELS for kind, count in (("same", 5), ("slowed", 1))}
    whole = all(
        sum(row["model"] == model for row in (same if kind == "same" else slower)) == count * AA_ROUNDS
        for model, kind, count in of_each
    )
    bars = []
    for paired, how in ((True, "timed in turns"), (False, "by runs")):
        alarms = sum(aa_called(row, paired=paired) in {"worse", "better"} for row in same)
        name = f"false alarms of {5 * len(AA_MODELS) * AA_ROUNDS} A/A comparisons, {how}"
        bars.append(_share(name, alarms, len(same), ALARM_BAR, whole=whole))
    found = sum(aa_called(row) == "worse" for row in slower)
    bars.append(_share("slowdowns found, timed in turns", found, len(slower), FOUND_BAR, whole=whole, at_least=True))
    for model in AA_MODELS:
        long = [row for row in rows if (row["model"], row["kind"]) == (model, "size")]
        sized = len(long) == 1 and len(long[0]["pairs"]) == AA_SIZE_PAIRS
        seen = compare_pairs([ratio for *_, ratio in long[0]["pairs"]]) if sized else None
        low, high = (None, None) if seen is None else (seen.low - 1, seen.high - 1)
        size = None if seen is None else seen.ratio - 1
        bars.append(bar(f"slowdown put into {model}", size, SLOWDOWN_BAR, low=low, high=high))
    return bars


def int8_audit(rows: Sequence[Row]) -> list[Bar]:
    """Faults of calibrations that were found and named, and healthy ones that were accused."""
    planted = {kind: [row for row in rows if row["kind"] == kind] for kind in INT8_FAULTS}
    healthy = [row for row in rows if row["kind"] == "healthy"]
    first = min((row["seed"] for row in rows), default=0)  # of all, so that no draw was left out for what it gave
    seeds = [list(range(first, first + count)) for count in (INT8_SEEDS, INT8_HEALTHY)]
    whole = all(sorted(row["seed"] for row in mine) == seeds[0] for mine in planted.values())
    drawn = sorted(row["seed"] for row in healthy) == seeds[1]
    mine = [row for rows_of_kind in planted.values() for row in rows_of_kind]
    bars = []
    for key, what in (("found", "found"), ("named", "named with their cause")):
        share = sum(row[key] is True for row in mine) / len(mine) if whole else None
        name = f"faults {what}, of {INT8_SEEDS} draws each of {len(INT8_FAULTS)} kinds"
        bars.append(bar(name, share, 1, at_least=True))
    accused = sum(row["accused"] is not False for row in healthy) if drawn else None
    bars.append(bar(f"healthy calibrations accused, of {INT8_HEALTHY}", accused, 0))
    return bars


def _share(  # noqa: PLR0913 - what a share and its bar are, named at each call
    name: str, hits: int, of: int, limit: float, *, whole: bool, at_least: bool = False
) -> Bar:
    """A share with Clopper's and Pearson's bounds; none of less than all that was planned."""
    if not whole:
        return bar(name, None, limit, at_least=at_least)
    low, high = bounds(hits, of, CONFIDENCE)
    return bar(name, hits / of, limit, at_least=at_least, low=low, high=high)


def verdicts(claims: Claims, rows: Sequence[Row]) -> list[Bar]:
    """Of each claim the cell that is worst: missed where its bound does not reach the bar, as each cell is."""
    return [
        _worst(name, cells, limit, sense, [row for row in rows if row["claim"] == name])
        for name, (cells, limit, sense) in claims.items()
    ]


def _worst(name: str, cells: int, limit: float, sense: Sense, mine: Sequence[Row]) -> Bar:
    name, at_least = f"{name}: the worst of {cells} cells", sense == "at least"
    if not _all_cells(cells, mine):
        return bar(name, None, limit, at_least=at_least)
    worst = (min if at_least else max)(mine, key=lambda row: float(row["hits"] / row["trials"]))
    low, high = bounds(worst["hits"], worst["trials"])
    made = bar(name, worst["hits"] / worst["trials"], limit, at_least=at_least, low=low, high=high)
    return {**made, "met": within(low, high, limit, sense)}


def _all_cells(cells: int, mine: Sequence[Row]) -> bool:
    return len({(row["name"], row["model"]) for row in mine}) == len(mine) == cells and all(
        row["trials"] >= TRIALS for row in mine
    )


def compared(rows: Sequence[Row]) -> list[Bar]:
    """The claims of comparisons, and by how much a measured power is beyond three points from the promised one."""
    mine = [row for row in rows if row["claim"] == comparison.PROMISE_CLAIM]
    beyond = [(row["rate"] - row["bar"]) * (1 if row["sense"] == "at most" else -1) for row in mine]
    name = f"{comparison.PROMISE_CLAIM}: how far beyond, the worst of {comparison.PROMISES} cells"
    figure = max(beyond) if _all_cells(comparison.PROMISES, mine) else None
    return [*verdicts(comparison.CLAIMS, rows), bar(name, figure, 0.0)]


def parity_planted(rows: Sequence[Row]) -> list[Bar]:
    """Faults detected and named by the node or one that is fused with it, and healthy engines that were accused."""
    sick, healthy = ([row for row in rows if bool(row["planted"]) is planted] for planted in (True, False))
    told, accused = ([row for row in side if row["accused"] or _out(row)] for side in (sick, healthy))
    right = [row for row in sick if row["right"]]
    whole = len(sick) >= PARITY_PLANTED and len(healthy) >= PARITY_PLANTED
    share = [len(one) / len(sick) if whole else None for one in (told, right)]
    return [
        bar("planted faults that were detected", share[0], 1.0, at_least=True),
        bar("planted faults whose node was named", share[1], PARITY_NAMED, at_least=True),
        bar("healthy engines that were accused", len(accused) if whole else None, 0),
    ]


def _out(row: Row) -> bool:
    """Whether parity failed for what the fault did: random weights may lose as much by INT8 alone."""
    return bool(row["parity"] == "failed" and row["precision"] != "int8")


def parity_peer(rows: Sequence[Row]) -> list[Bar]:
    """Our fastest process by theirs, and our largest peak of memory by theirs."""
    bars = []
    for model in dict.fromkeys(row["model"] for row in rows):
        mine = {side: [r for r in rows if (r["model"], r["side"]) == (model, side)] for side in ("ours", "theirs")}
        whole = all(mine.values())
        for name, key, pick in (("time", "seconds", min), ("peak of memory", "peak", max)):
            ours, theirs = (pick(row[key] for row in mine[side]) if whole else 0.0 for side in ("ours", "theirs"))
            bars.append(bar(f"{name} by Polygraphy's, {model}", ours / theirs if whole else None, PARITY_PEER))
    return bars or [bar("time by Polygraphy's", None, PARITY_PEER)]


def parity_holes(rows: Sequence[Row]) -> list[Bar]:
    """Comparisons that must not pass and did, of all of them."""
    there = len({row["hole"] for row in rows}) == PARITY_HOLES
    return [bar("comparisons of nothing that passed", sum(row["ours"] for row in rows) if there else None, 0)]


def history(rows: Sequence[Row]) -> list[Bar]:
    """The matrix query's slowest repeat, what killed writers cost, older schemas, and what a broken history costs."""
    bars = []
    for database in DATABASES:
        mine = {row["what"]: row for row in rows if row.get("database") == database}
        asked, wrote, older = (mine.get(what) for what in ("matrix", "writers", "older schema"))
        large = asked and asked["runs"] >= HISTORY_RUNS and asked["measurements"] >= HISTORY_MEASUREMENTS
        whole = asked if asked and large and asked["points"] and len(asked["seconds"]) >= HISTORY_REPEATS else None
        slowest = max(whole["seconds"]) if whole else None
        name = f"matrix query over {HISTORY_MEASUREMENTS:,} measurements, slowest of {HISTORY_REPEATS}, {database}"
        bars.append(bar(name, slowest, HISTORY_BAR, unit="s"))
        enough = wrote if wrote and wrote["killed"] >= FEWEST_KILLS and wrote["confirmed"] >= FEWEST_KEPT else None
        spoilt = None if enough is None else float(enough["lost"] + enough["twice"] + enough["partial"])
        bars.append(bar(f"runs lost, doubled or cut in half by 16 killed writers, {database}", spoilt, 0))
        share = None if older is None else float(older["good"] is True)
        bars.append(bar(f"a database of the first schema migrates, {database}", share, 1, at_least=True))
    told = {row["case"]: _survived(row) for row in rows if row["what"] == "trouble"}
    found = sum(told.get(case, False) for case in SPOILED) / len(SPOILED) if set(told) == set(SPOILED) else None
    bars.append(bar("a broken history: one clear message, and the report on disk", found, 1, at_least=True))
    return bars


def _survived(row: Row) -> bool:
    """One message; the report whole, or begun where the run was refused before it measured anything."""
    report = "incomplete" if row["early"] else "complete"
    return row["code"] in {4, 11} and len(row["messages"]) == 1 and not row["traceback"] and row["report"] == report


JUDGES: Mapping[str, Callable[[Sequence[Row]], list[Bar]]] = {
    "compare-aa": aa,
    "deploy-faults": deploy_faults,
    "verdicts-percentile": partial(verdicts, percentile.CLAIMS),
    "verdicts-limits": partial(verdicts, limits.CLAIMS),
    "verdicts-comparison": compared,
    "verdicts-peers": partial(verdicts, peers.CLAIMS),
    "ssh": ssh,
    "telemetry": telemetry,
    "parity-planted": parity_planted,
    "parity-peer": parity_peer,
    "parity-holes": parity_holes,
    "history": history,
    "int8-audit": int8_audit,
    "tensorrt-honesty": honesty,
    "tensorrt-provision": provision,
    "tensorrt-streams": streams,
    "tensorrt-leak": leak,
    "tensorrt-faults": faults,
    **{f"tensorrt-suites-{model}": partial(suites, model) for model in MODELS},
}
