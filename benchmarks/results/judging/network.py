"""The bars of the network's cost, and of sampling the board during a measurement."""

from __future__ import annotations

import statistics
from typing import TYPE_CHECKING

from benchmarks.results.judging.bars import bar

if TYPE_CHECKING:
    from collections.abc import Sequence

    from benchmarks.results.judging.bars import Bar, Row

UPLOAD_SIZE, UPLOAD_ROUNDS, UPLOAD_BAR = 512 << 20, 5, 1.0
"""Bytes of the new file in each round, rounds for each of ``ROUND_TRIPS``, and our speed relative to that of
``scp``."""

SESSION_ROUNDS, SESSION_BAR = 7, 0.5
PARITY_SAMPLES, PARITY_ROUNDS, PARITY_WAY_BAR = 1000, 7, 1.3
ROUND_TRIPS = (0, 40)
"""Milliseconds between host and board."""

TELEMETRY_ROUNDS, TELEMETRY_BAR = 8, 1.01


def ssh(rows: Sequence[Row]) -> list[Bar]:
    """Return bars for an upload against ``scp``, a second session against a bare runtime, and parity with a delay."""
    bars = []
    for trip in ROUND_TRIPS:
        mine = [row for row in rows if row["part"] == "upload" and row["round_trip"] == trip]
        ratios = [row["scp"] / row["ours"] for row in mine if row["size"] >= UPLOAD_SIZE]
        name = f"upload of 512 MiB at {trip} ms round trip, by scp's speed"
        bars.append(_median_bar(name, ratios, UPLOAD_ROUNDS, UPLOAD_BAR, at_least=True))
    near = [row for row in rows if row["part"] == "session" and row["round_trip"] == 0]
    more = [row["ours"] - row["bare"] for row in near]
    bars.append(_median_bar("second session, over ssh and a bare runtime", more, SESSION_ROUNDS, SESSION_BAR, unit="s"))
    sent = sum(row["uploaded"] for row in rows if row["part"] == "session")
    enough = len(near) >= SESSION_ROUNDS
    bars.append(bar("uploaded by second sessions", sent if enough else None, 0, unit="B"))
    compared = [row for row in rows if row["part"] == "parity" and row["samples"] >= PARITY_SAMPLES]
    ratios = [row["far"] / row["near"] for row in compared]
    name = "parity over 1,000 samples at 40 ms round trip, by that at 0 ms"
    return [*bars, _median_bar(name, ratios, PARITY_ROUNDS, PARITY_WAY_BAR)]


def _median_bar(  # noqa: PLR0913 - the fields of a bar, named at each call
    name: str, figures: Sequence[float], rounds: int, limit: float, *, unit: str = "", at_least: bool = False
) -> Bar:
    """Return a bar for the median of at least ``rounds`` figures, with their range."""
    if len(figures) < rounds:
        return bar(name, None, limit, unit=unit, at_least=at_least)
    middle = statistics.median(figures)
    return bar(name, middle, limit, unit=unit, at_least=at_least, low=min(figures), high=max(figures))


def telemetry(rows: Sequence[Row]) -> list[Bar]:
    """Return a bar for the p50 with the sampler relative to that without it.

    The figure is the median over rounds of the median over neighbouring windows.
    """
    ratios = [statistics.median(a / b for a, b in zip(row["with"], row["without"], strict=True)) for row in rows]
    return [_median_bar("p50 with the sampler, by that without", ratios, TELEMETRY_ROUNDS, TELEMETRY_BAR)]
