"""The bars of comparing separate sessions, real and simulated."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Any

from benchmarks.results.judging.bars import CONFIDENCE, bar
from benchmarks.results.judging.verdicts import judge as judge_claims
from benchmarks.verdicts.table import bounds

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from benchmarks.results.judging.bars import Bar, Row

PAIRS, SLOWDOWNS = 100, 10
"""Pairs of neighbouring sessions and comparisons with the slowed model; fixed before the first run."""

THROTTLED = {"clock", "alert", "speed"}
"""What reveals a throttled session of a simulated board: its limited clock, an alert, or only its speed."""

FALSE_BAR, CONFOUNDED_BAR, PASSED_BAR, FOUND_BAR = 0.01, 0.95, 0.9, 0.8
SIMULATED_CLAIM, SIMULATED_CELLS = "false changes of simulated sessions", 20
P50 = "latency.p50"


def real(rows: Sequence[Row]) -> list[Bar]:
    """Return the bars of real sessions, with Clopper and Pearson's bounds, each one-sided at 95 %.

    A pair with any row better or worse, required or not, is a false change, since all sessions of the chains run the
    same code. A pair is confounded if p50 is confounded in every precision.
    """
    pairs = [row for row in rows if row["kind"] == "pair"]
    disturbed = [row for row in pairs if any(row["disturbed"])]
    quiet = [row for row in pairs if not any(row["disturbed"])]
    slowed = [row for row in rows if row["kind"] == "slowdown"]
    share = partial(_share, whole=len(pairs) == PAIRS and len(slowed) == SLOWDOWNS)
    return [
        share("pairs of one engine called better or worse", pairs, changed, FALSE_BAR),
        share("pairs disturbed on one side, confounded", disturbed, confounded, CONFOUNDED_BAR, at_least=True),
        share("undisturbed pairs, exit code 0", quiet, lambda row: row["code"] == 0, PASSED_BAR, at_least=True),
        share("slowdowns of 5 % found", slowed, is_found, FOUND_BAR, at_least=True),
    ]


def board(rows: Sequence[Row]) -> list[Bar]:
    """Return the bars of a simulated board: each throttled session is confounded, and an undisturbed one is not."""
    calm, throttled = ([row for row in rows if any(row["disturbed"]) is disturbed] for disturbed in (False, True))
    whole = {row["disturbed"][1] for row in throttled} == THROTTLED and bool(calm)
    return [
        _share("throttled sessions of a board, confounded", throttled, confounded, 1.0, whole=whole, at_least=True),
        _share("undisturbed sessions of a board, confounded", calm, confounded, 0.0, whole=whole),
    ]


def simulated(rows: Sequence[Row]) -> list[Bar]:
    """Return the bar of simulated sessions: false changes in the worst cell."""
    claims: dict[str, tuple[int, float, Any]] = {SIMULATED_CLAIM: (SIMULATED_CELLS, FALSE_BAR, "at most")}
    return judge_claims(claims, rows)


def changed(row: Row) -> bool:
    """Return whether a comparison calls any row better or worse."""
    return any(each["status"] in {"better", "worse"} for each in row["rows"])


def confounded(row: Row) -> bool:
    """Return whether p50 of every precision is confounded."""
    statuses = [each["status"] for each in row["rows"] if each["check"] == P50]
    return bool(statuses) and set(statuses) == {"confounded"}


def is_found(row: Row) -> bool:
    """Return whether p50 is worse."""
    return any(each["check"] == P50 and each["status"] == "worse" for each in row["rows"])


def _share(  # noqa: PLR0913 - what a share and its bar are, named at each call
    name: str, of: Sequence[Row], hit: Callable[[Row], bool], limit: float, *, whole: bool, at_least: bool = False
) -> Bar:
    """Return a share of rows with its bounds; without a figure if less than planned was measured."""
    if not whole or not of:
        return bar(name, None, limit, at_least=at_least)
    hits = sum(map(hit, of))
    low, high = bounds(hits, len(of), CONFIDENCE)
    return bar(name, hits / len(of), limit, at_least=at_least, low=low, high=high)
