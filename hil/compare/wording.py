"""How a comparison's figures read to people: values, effects, intervals, signs. Shared by all that show one."""

from __future__ import annotations

from typing import TYPE_CHECKING

from hil.compare.compared_checks import MEASURES, measure_of, order
from hil.compare.schema import GOOD, WORST_FIRST, Compared, Document, Row, Status
from hil.units import show

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

SIGN = {
    Status.SAME: "=",
    Status.BETTER: "↑",
    Status.WORSE: "✗",
    Status.UNCLEAR: "?",
    Status.CONFOUNDED: "≠",
    Status.REFUSED: "⊘",
    Status.MISSING: "–",
    Status.ACCEPTED: "✓",
    Status.TOLD: "·",
}
NEXT = {
    Status.WORSE: "find the cause in what changed; or accept it on record: hil accept CAND --check … --model … --why …",
    Status.UNCLEAR: "take more runs on both sides: pytest --hil-runs=N",
    Status.CONFOUNDED: "measure both sides on one machine, or say --across-boards",
    Status.REFUSED: "measure one side again the way the other was",
    Status.MISSING: "run the same suites, models and precisions on both sides",
}
MOST_NAMES = 8
MOST_CHANGE = 10.0


def value(row: Row, side: float | None) -> str:
    """``4.11 ms``, or a dash."""
    return "–" if side is None else show(side, row.unit)


def effect(row: Row) -> str:
    """``+2.1 %`` of the base, or of the whole for a loss (``+0.4 pt``); a dash where there is none."""
    return "–" if row.effect is None else _change(row, row.effect)


def interval(row: Row) -> str:
    """``+1.2 % to +3.0 %``; empty where nothing is known."""
    if row.low is None and row.high is None:
        return ""
    low, high = ("" if end is None else _end(row, end) for end in (row.low, row.high))
    # The unit once: "-0.4…+1.2 %".
    return f"{low.rpartition(' ')[0]}…{high}"


def _end(row: Row, change: float) -> str:
    """One end; beyond tenfold it says no more than that nothing is known there."""
    return _change(row, change) if row.absolute or change <= MOST_CHANGE else f">{MOST_CHANGE:+.0%}".replace("%", " %")


def _change(row: Row, change: float) -> str:
    if row.absolute:
        return f"{change * 100:+.2f} pt" if row.unit == "1" else f"{change:+.4g}"
    return f"{change * 100:+.1f} %"


def title(check: str) -> str:
    """What a measurement is called in a table: ``p99``; a user's own by its id."""
    return measure_of(check).title


def headline(found: Document) -> str:
    """The whole comparison in a few words."""
    rows = [row for each in found.comparisons for row in each.rows if row.counts]
    counts = {status: sum(row.status is status for row in rows) for status in WORST_FIRST}
    told = ", ".join(f"{counts[status]} {status.value}" for status in WORST_FIRST if counts[status])
    if not any(counts[status] for status in GOOD - {Status.TOLD}) and not told:
        return "nothing could be compared"
    return told


def worst(found: Document) -> Status | None:
    """The worst status among the rows that count."""
    seen = {row.status for each in found.comparisons for row in each.rows if row.counts}
    return next((status for status in WORST_FIRST if status in seen), None)


def sides(each: Compared) -> tuple[str, str]:
    """Both sides by name with their runs: ``jetpack:6.2 (5 runs, 2026-11-01 to 2026-11-03)``."""
    return tuple(  # type: ignore[return-value]  # two in, two out
        f"{side.name} ({len(side.runs)} session{'s' if len(side.runs) > 1 else ''}, {_span(side.first, side.last)})"
        for side in (each.base, each.cand)
    )


def _span(first: str, last: str) -> str:
    return first if first == last else f"{first} to {last}"


def columns(found: Document) -> tuple[str, ...]:
    """The matrix's columns: the base and every side compared with it."""
    return (found.comparisons[0].base.name, *(each.cand.name for each in found.comparisons))


def subject(found: Document) -> str:
    """What is compared: ``detector by jetpack``, or both sides by name."""
    if found.by is not None:
        return f"{found.model or 'all models'} by {found.by}"
    each = found.comparisons[0]
    return f"{each.base.name} → {each.cand.name}"


def rule(found: Document) -> str:
    """By which rule rows were judged."""
    by = found.settings
    worse = f"worse: beyond {by.above * 100:g} % at {by.confidence * 100:g} % over all rows"
    return f"{worse}; same: a worsening of {by.exclude * 100:g} % is excluded"


def troubles(found: Document) -> dict[tuple[Status, str], list[str]]:
    """The names of the rows that keep the comparison from passing, by status and reason, worst first."""
    told: dict[tuple[Status, str], list[str]] = {}
    for each in found.comparisons:
        for row in each.troubles:
            name = row.name if found.by is None else f"{row.name} ({each.cand.name})"
            told.setdefault((row.status, row.reason), []).append(name)
    return {key: told[key] for key in sorted(told, key=lambda key: WORST_FIRST.index(key[0]))}


def named(names: Sequence[str]) -> str:
    """The first few of these names; the rest is counted."""
    return ", ".join(names[:MOST_NAMES]) + (f" and {len(names) - MOST_NAMES} more" if len(names) > MOST_NAMES else "")


def matrix(found: Document) -> dict[tuple[str, str], dict[tuple[str, str], tuple[Row | None, ...]]]:
    """By model and precision, by check and scenario: a row for each comparison, ``None`` where neither side has it."""
    tables: dict[tuple[str, str], dict[tuple[str, str], list[Row | None]]] = {}
    for number, each in enumerate(found.comparisons):
        for row in each.rows:
            if row.status is Status.TOLD and row.check not in MEASURES:
                continue
            group = tables.setdefault((row.model, row.precision), {})
            group.setdefault((row.check, row.scenario), [None] * len(found.comparisons))[number] = row
    return {
        group: {key: tuple(lines[key]) for key in sorted(lines, key=lambda key: (order(key[0]), key[1]))}
        for group, lines in sorted(tables.items())
    }


def base_value(rows: Iterable[Row | None]) -> str:
    """The base column's value of one line."""
    known: Sequence[Row] = [row for row in rows if row is not None]
    return next((value(row, row.base) for row in known if row.base is not None), "–")
