"""Inferences per second with 1, 2, 4 and 8 in flight, through the agent and by a bare loop on the same engine file."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from rich.console import Console
from rich.table import Table

from benchmarks.results.judging.tensorrt import ROUNDS, STREAMS, rate
from benchmarks.tensorrt.peers import Peer
from benchmarks.tensorrt.stage import LOAD_DEADLINE, Stage

if TYPE_CHECKING:
    from hil.targets.engine_worker import EngineWorker

WARMUP, SECONDS = 0.2, 1.0  # consecutive shorter windows with several in flight differed by a third


def ours(worker: EngineWorker, feed: dict[str, Any], count: int) -> dict[str, Any]:
    """Return the inferences and the seconds from the first start to the last completion."""
    timed = worker.throughput([feed], streams=count, warmup=WARMUP, seconds=SECONDS, min_samples=1, max_samples=10**6)
    ends = timed.start + timed.duration
    return {"runs": int(timed.duration.size), "seconds": float(ends.max() - timed.start.min())}


def show(rows: list[dict[str, Any]]) -> None:
    """Print one line per round, with both sides."""
    table = Table(title="inferences a second, ours / bare", title_justify="left")
    for heading in ("round", *(f"{count} in flight" for count in STREAMS)):
        table.add_column(heading, justify="right")
    for number in sorted({row["round"] for row in rows}):
        cells = [str(number)]
        for count in STREAMS:
            rates = {row["side"]: rate(row) for row in rows if row["round"] == number and row["streams"] == count}
            cells.append(f"{rates['ours']:,.0f} / {rates['bare']:,.0f}")
        table.add_row(*cells)
    Console(width=110).print(table)


def measure(stage: Stage) -> int:
    """Run the whole benchmark; return the exit code."""
    rows: list[dict[str, Any]] = []
    feed, most = stage.feed(), max(STREAMS)
    with stage.agent() as agent:
        engine = stage.build(agent)
        options = {"gpu": 0, "cuda": "ctypes", "cuda_graph": False, "streams": most}
        arguments = (stage.plan(agent, engine), stage.feed_file(), "ctypes", 0, most)
        with agent.load(engine.key, options, LOAD_DEADLINE) as worker, Peer(stage.python, "bare", *arguments) as bare:
            for number in range(3 if stage.quick else ROUNDS):
                for count in STREAMS:
                    for side in ("ours", "bare") if number % 2 == 0 else ("bare", "ours"):
                        if side == "ours":
                            window = ours(worker, feed, count)
                        else:
                            window = bare.ask(op="rate", streams=count, warmup=WARMUP, seconds=SECONDS)
                        rows.append({"round": number, "streams": count, "side": side, **window})
    show(rows)
    return stage.keep("tensorrt-streams", rows)
