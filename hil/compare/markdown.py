"""Render a comparison as a merge request comment.

It has the verdict, problems with next steps, one table for each model and precision, and what changed.
"""

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
"""The most characters of the tables of all engines together. GitHub and GitLab cut or refuse comments above 65,536
characters."""


def render(document: Document) -> str:
    """Return the whole comment as GitHub-flavoured Markdown. Its only raw HTML is ``<details>`` and ``<summary>``."""
    parts = (_head, _troubles, _tables, _changed, _foot)
    return "\n".join(line for part in parts for line in part(document)) + "\n"


def _head(document: Document) -> Iterator[str]:
    word = "✅ PASSED" if document.passed else "❌ NOT PASSED"
    yield f"## {word}: {escape(wording.subject(document))}"
    yield ""
    yield f"{escape(wording.headline(document))}"
    yield ""
    for each in document.comparisons:
        base, cand = wording.sides(each)
        yield f"- {escape(base)} → {escape(cand)}"
    yield ""


def _troubles(document: Document) -> Iterator[str]:
    problems, unasked = wording.troubles(document), wording.worse_unasked(document)[:MOST_TROUBLES]
    if not problems and not unasked:
        return
    yield "### What needs attention"
    yield ""
    for (status, reason), names in list(problems.items())[:MOST_TROUBLES]:
        yield f"- {ICON[status]} **{escape(wording.joined_names(names))}** ({status.value}): {escape(reason)}"
        yield f"  Next: {escape(wording.NEXT[status])}"
    if len(problems) > MOST_TROUBLES:
        yield f"- … and {len(problems) - MOST_TROUBLES} more: see the JSON"
    yield from (f"- {ICON[Status.WORSE]} for information: {escape(line)}" for line in unasked)
    yield ""


def _tables(document: Document) -> Iterator[str]:
    names = wording.columns(document)
    length, tables = 0, wording.matrix(document)
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
    return " ".join([*parts, f"{ICON[row.status]} {wording.status_text(row)}"])


def _changed(document: Document) -> Iterator[str]:
    for each in document.comparisons:
        if each.uncontrolled:
            yield from (escape(each.uncontrolled), "")
        title = f"What changed from {each.base.name} to {each.cand.name}"
        if not each.changed:
            yield from (f"{escape(title)}: no recorded differences", "")
            continue
        yield from ("<details><summary>", "", f"{escape(title)} ({len(each.changed)})", "", "</summary>", "")
        yield from _fields(each)
        yield from ("", "</details>", "")


def _fields(each: Compared) -> Iterator[str]:
    yield "| | base | candidate |"
    yield "| :--- | :--- | :--- |"
    for field in each.changed[:MOST_CHANGED]:
        yield f"| {escape(field.name)} | {escape(field.base)} | {escape(field.cand)} |"
    if len(each.changed) > MOST_CHANGED:
        yield f"| … and {len(each.changed) - MOST_CHANGED} more: see the JSON | | |"


def _foot(document: Document) -> Iterator[str]:
    yield escape(f"{wording.rule(document)}; hil {document.hil_version}")
