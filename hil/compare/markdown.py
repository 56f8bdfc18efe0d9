"""A comparison as a comment on a merge request: the verdict, a table a model, what changed, what to do."""

from __future__ import annotations

from typing import TYPE_CHECKING

from hil.compare import wording
from hil.compare.schema import Compared, Document, Row, Status
from hil.report.markdown import escape

if TYPE_CHECKING:
    from collections.abc import Iterator

ICON = {
    Status.SAME: "✅",
    Status.BETTER: "🟢",
    Status.ACCEPTED: "☑️",
    Status.TOLD: "▫️",
    Status.WORSE: "❌",
    Status.UNCLEAR: "❓",
    Status.MISSING: "⚪",
    Status.CONFOUNDED: "🔀",
    Status.REFUSED: "⛔",
}
MOST_TROUBLES = 30
MOST_CHANGED = 40
MOST_LETTERS = 40_000
"""Of the tables together: forges cut or refuse a comment beyond 65,536 characters."""


def render(found: Document) -> str:
    """The whole comment; GitHub-flavoured tables, no raw HTML but ``<details>``."""
    return "\n".join([*_head(found), *_troubles(found), *_tables(found), *_changed(found), *_foot(found)]) + "\n"


def _head(found: Document) -> Iterator[str]:
    word = "✅ PASSED" if found.passed else "❌ NOT PASSED"
    yield f"## {word}: {escape(wording.subject(found))}"
    yield ""
    yield f"{escape(wording.headline(found))}"
    yield ""
    for each in found.comparisons:
        base, cand = wording.sides(each)
        yield f"- {escape(base)} → {escape(cand)}"
    yield ""


def _troubles(found: Document) -> Iterator[str]:
    told = wording.troubles(found)
    if not told:
        return
    yield "### What needs attention"
    yield ""
    for (status, reason), names in list(told.items())[:MOST_TROUBLES]:
        yield f"- {ICON[status]} **{escape(wording.named(names))}** ({status.value}): {escape(reason)}"
        yield f"  Next: {escape(wording.NEXT[status])}"
    if len(told) > MOST_TROUBLES:
        yield f"- … and {len(told) - MOST_TROUBLES} more: see the JSON"
    yield ""


def _tables(found: Document) -> Iterator[str]:
    names = wording.columns(found)
    length, tables = 0, wording.matrix(found)
    for number, ((model, precision), lines) in enumerate(tables.items()):
        table = [f"| {escape(f'{model} {precision}')} | " + " | ".join(map(escape, names)) + " |"]
        table.append("| :--- |" + " ---: |" * len(names))
        for (check, _), rows in lines.items():
            cells = (wording.base_value(rows), *map(_cell, rows))
            table.append(f"| {escape(wording.title(check))} | " + " | ".join(cells) + " |")
        length += sum(map(len, table))
        if length > MOST_LETTERS:
            yield from (f"… and {len(tables) - number} more of {len(tables)} tables: see the JSON", "")
            return
        yield from (*table, "")


def _cell(row: Row | None) -> str:
    if row is None:
        return "–"
    parts = [escape(wording.value(row, row.cand))]
    if row.effect is not None:
        ends = wording.interval(row)
        parts.append(escape(wording.effect(row) + (f" ({ends})" if ends else "")))
    return " ".join([*parts, f"{ICON[row.status]} {row.status.value}"])


def _changed(found: Document) -> Iterator[str]:
    for each in found.comparisons:
        title = f"What changed from {each.base.name} to {each.cand.name}"
        if not each.changed:
            yield from (f"{escape(title)}: nothing that is recorded", "")
            continue
        yield from ("<details><summary>", "", f"{escape(title)} ({len(each.changed)})", "", "</summary>", "")
        yield from _fields(each)
        yield from ("", "</details>", "")


def _fields(each: Compared) -> Iterator[str]:
    yield "| | base | candidate |"
    yield "| :--- | :--- | :--- |"
    for one in each.changed[:MOST_CHANGED]:
        yield f"| {escape(one.name)} | {escape(one.base)} | {escape(one.cand)} |"
    if len(each.changed) > MOST_CHANGED:
        yield f"| … and {len(each.changed) - MOST_CHANGED} more: see the JSON | | |"


def _foot(found: Document) -> Iterator[str]:
    yield escape(f"{wording.rule(found)}; hil {found.hil_version}")
