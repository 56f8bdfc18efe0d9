"""Write values, effects, intervals and signs of a comparison as text, for page, comment and terminal."""

from __future__ import annotations

from typing import TYPE_CHECKING

from hil.compare.compared_checks import MEASURES, measure_of, order
from hil.compare.schema import WORST_FIRST, Compared, Document, Row, Status
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
    Status.WORSE: "find the cause in what changed, or accept the level: hil accept CAND --check … --model … --why …",
    Status.UNCLEAR: "do what the reason states, or name the rows that count: hil compare --row CHECK",
    Status.CONFOUNDED: "measure both sides again, on the same machine and in the same state",
    Status.REFUSED: "measure one side again with the method of the other side",
    Status.MISSING: "run the same suites, models and precisions on both sides",
}
MOST_NAMES = 8
MOST_CHANGE = 10.0


def value(row: Row, side: float | None) -> str:
    """Return a value with its unit, such as ``4.11 ms``; a dash for ``None``."""
    return "–" if side is None else show(side, row.unit)


def effect(row: Row) -> str:
    """Return the change, such as ``+2.1 %``, or ``+0.40 pt`` (percentage points) for a loss; a dash if unknown."""
    return "–" if row.effect is None else _change(row, row.effect)


def interval(row: Row) -> str:
    """Return the interval of the change, such as ``+1.2…+3.0 %``; empty if it is unknown."""
    if row.low is None and row.high is None:
        return ""
    low, high = ("" if end is None else _end(row, end) for end in (row.low, row.high))
    # The unit is written once: "-0.4…+1.2 %".
    return f"{low.rpartition(' ')[0]}…{high}"


def _end(row: Row, change: float) -> str:
    """Return one end of the interval as text. A relative change of more than 1000 % becomes ``>+1000 %``."""
    return _change(row, change) if row.absolute or change <= MOST_CHANGE else f">{MOST_CHANGE:+.0%}".replace("%", " %")


def _change(row: Row, change: float) -> str:
    if row.absolute:
        return f"{change * 100:+.2f} pt" if row.unit == "1" else f"{change:+.4g}"
    return f"{change * 100:+.1f} %"


def title(check: str) -> str:
    """Return the title of a check in tables, such as ``p99``; the id for a user's own check."""
    return measure_of(check).title


def headline(document: Document) -> str:
    """Return as text how many rows have each status: first of those that count, then of the others."""
    rows = [row for each in document.comparisons for row in each.rows]
    counted = _numbers([row for row in rows if row.counts]) or "nothing that counts could be compared"
    others = _numbers([row for row in rows if not row.counts and row.status is not Status.TOLD])
    return f"{counted}; for information: {others}" if others else counted


def _numbers(rows: Sequence[Row]) -> str:
    counts = {status: sum(row.status is status for row in rows) for status in WORST_FIRST}
    return ", ".join(f"{counts[status]} {status.value}" for status in WORST_FIRST if counts[status])


def worst(document: Document) -> Status | None:
    """Return the worst status of the rows that count; ``None`` if no row counts."""
    statuses = {row.status for each in document.comparisons for row in each.rows if row.counts}
    return next((status for status in WORST_FIRST if status in statuses), None)


def sides(each: Compared) -> tuple[str, str]:
    """Return name, sessions and times of each side: ``jetpack:6.2 (2 sessions, 2026-11-01 08:00 to …)``."""
    return tuple(  # type: ignore[return-value]  # two in, two out
        f"{side.name} ({len(side.runs)} session{'s' if len(side.runs) > 1 else ''}, {_span(side.first, side.last)})"
        for side in (each.base, each.cand)
    )


def _span(first: str, last: str) -> str:
    return first if first == last else f"{first} to {last}"


def columns(document: Document) -> tuple[str, ...]:
    """Return the names of the matrix's columns: the base and every side compared with it."""
    return (document.comparisons[0].base.name, *(each.cand.name for each in document.comparisons))


def subject(document: Document) -> str:
    """Return what is compared as text: ``detector by jetpack``, or the names of the sides if there are two."""
    if document.by is not None:
        return f"{document.model or 'all models'} by {document.by}"
    each = document.comparisons[0]
    return f"{each.base.name} → {each.cand.name}"


def rule(document: Document) -> str:
    """Return as text the rule by which rows were judged."""
    settings = document.settings
    worse = (
        f"worse: by more than {settings.above * 100:g} %, significant at {settings.confidence * 100:g} % over all rows"
    )
    rows = ", ".join(settings.rows) or "p50, and rows with a limit or a regression table"
    return f"{worse}; same: a worsening of {settings.exclude * 100:g} % is excluded; rows that count: {rows}"


def status_text(row: Row) -> str:
    """Return the row's status, with ``(information)`` if the row was judged but does not affect the exit code."""
    return row.status.value if row.counts or row.status is Status.TOLD else f"{row.status.value} (information)"


def troubles(document: Document) -> dict[tuple[Status, str], list[str]]:
    """Return the names of the rows that prevent a pass, by status and reason, worst first."""
    names: dict[tuple[Status, str], list[str]] = {}
    for each in document.comparisons:
        for row in each.troubles:
            names.setdefault((row.status, row.reason), []).append(_name(row, each, document))
    return {key: names[key] for key in sorted(names, key=lambda key: WORST_FIRST.index(key[0]))}


def worse_unasked(document: Document) -> tuple[str, ...]:
    """Return a line for each row that is worse but does not affect the exit code."""
    return tuple(
        f"{_name(row, each, document)} is worse: {effect(row)}, {row.reason}; it does not affect the exit code: "
        f"to make it count, pass --row {row.check} or give it a limit"
        for each in document.comparisons
        for row in each.rows
        if row.status is Status.WORSE and not row.counts
    )


def _name(row: Row, each: Compared, document: Document) -> str:
    return row.name if document.by is None else f"{row.name} ({each.cand.name})"


def joined_names(names: Sequence[str]) -> str:
    """Return the first ``MOST_NAMES`` names, comma-separated, and the number of the others."""
    return ", ".join(names[:MOST_NAMES]) + (f" and {len(names) - MOST_NAMES} more" if len(names) > MOST_NAMES else "")


def matrix(document: Document) -> dict[tuple[str, str], dict[tuple[str, str], tuple[Row | None, ...]]]:
    """Return the rows by model and precision, then by check and scenario.

    Each entry has one row per comparison. Rows with the status ``told`` are left out, except those of ``MEASURES``.
    """
    tables: dict[tuple[str, str], dict[tuple[str, str], list[Row | None]]] = {}
    for number, each in enumerate(document.comparisons):
        for row in each.rows:
            if row.status is Status.TOLD and row.check not in MEASURES:
                continue
            group = tables.setdefault((row.model, row.precision), {})
            group.setdefault((row.check, row.scenario), [None] * len(document.comparisons))[number] = row
    return {
        group: {key: tuple(lines[key]) for key in sorted(lines, key=lambda key: (order(key[0]), key[1]))}
        for group, lines in sorted(tables.items())
    }


def base_value(rows: Iterable[Row | None]) -> str:
    """Return the base's value, with its unit, for the matrix line with these ``rows``; a dash if unknown."""
    present: Sequence[Row] = [row for row in rows if row is not None]
    return next((value(row, row.base) for row in present if row.base is not None), "–")
