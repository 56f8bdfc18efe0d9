"""Render a comparison for a terminal: the result, the rows, the differences of the environments, and next steps."""

from __future__ import annotations

from typing import TYPE_CHECKING

from rich import box
from rich.padding import Padding
from rich.panel import Panel
from rich.table import Table
from rich.text import Text

from hil.compare import wording
from hil.compare.schema import GOOD, Compared, Document, Row, Status
from hil.report.shown_text import printable

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from rich.console import RenderableType

STYLE = {
    Status.SAME: "green",
    Status.BETTER: "bold green",
    Status.ACCEPTED: "yellow",
    Status.WORSE: "bold red",
    Status.UNCLEAR: "magenta",
    Status.CONFOUNDED: "magenta",
    Status.REFUSED: "red",
    Status.MISSING: "red",
    Status.TOLD: "dim",
}
MOST_TROUBLES = 20
MOST_CHANGED = 24


def renderables(document: Document) -> Iterator[RenderableType]:
    """Yield the parts of the comparison from top to bottom."""
    yield _head(document)
    if document.by is None:
        for each in document.comparisons:
            yield from _rows(each)
            yield from _changed(each)
    else:
        yield from _matrix(document)
        for each in document.comparisons:
            yield from _changed(each)
    yield from _troubles(document)


def _head(document: Document) -> Panel:
    word, colour = ("PASSED", "green") if document.passed else ("NOT PASSED", "red")
    body = Text(f"{wording.headline(document)}\n")
    for each in document.comparisons:
        base, cand = wording.sides(each)
        body.append(printable(f"{base} → {cand}\n"))
    body.append(wording.rule(document), style="dim")
    return Panel(body, title=Text(f" {word} ", style=f"bold {colour}"), title_align="left", border_style=colour)


def _rows(each: Compared) -> Iterator[RenderableType]:
    groups: dict[str, list[Row]] = {}
    for row in each.rows:
        if row.status is not Status.TOLD:
            groups.setdefault(f"{row.model} {row.precision}", []).append(row)
    for group, rows in groups.items():
        table = _table((group, "base", "candidate", "change", "interval", "runs", ""), numbers=(1, 2, 3, 4, 5))
        for row in rows:
            sides = (wording.value(row, side) for side in (row.base, row.cand))
            runs = f"{row.runs[0]}|{row.runs[1]}"
            name = Text(printable(wording.title(row.check)))
            table.add_row(name, *sides, wording.effect(row), wording.interval(row), runs, _sign(row))
        yield table


def _matrix(document: Document) -> Iterator[RenderableType]:
    names = wording.columns(document)
    for (model, precision), lines in wording.matrix(document).items():
        table = _table((f"{model} {precision}", *names), numbers=tuple(range(1, len(names) + 1)))
        for (check, _), rows in lines.items():
            cells = [_cell(row) for row in rows]
            table.add_row(Text(printable(wording.title(check))), wording.base_value(rows), *cells)
        yield table


def _cell(row: Row | None) -> Text:
    if row is None:
        return Text("–", style="dim")
    cell = Text(wording.value(row, row.cand))
    if row.effect is not None:
        cell.append(f"\n{wording.effect(row)}", style=STYLE[row.status])
    if ends := wording.interval(row):
        cell.append(f"\n{ends}", style="dim")
    return cell.append("\n").append(_sign(row))


def _sign(row: Row) -> Text:
    worth_a_colour = row.counts or row.status is Status.WORSE
    return Text(
        f"{wording.SIGN[row.status]} {wording.status_text(row)}", style=STYLE[row.status] if worth_a_colour else "dim"
    )


def _changed(each: Compared) -> Iterator[RenderableType]:
    if each.uncontrolled:
        yield Text(printable(each.uncontrolled), style="yellow")
    title = Text(printable(f"what changed from {each.base.name} to {each.cand.name}"), style="bold")
    if not each.changed:
        yield title.append(": no recorded differences", style="not bold")
        return
    yield title
    table = _table(("", "base", "candidate"), header=False)
    for field in each.changed[:MOST_CHANGED]:
        table.add_row(*(Text(printable(part)) for part in (field.name, field.base, field.cand)))
    yield Padding(table, (0, 0, 0, 2))
    if len(each.changed) > MOST_CHANGED:
        yield Text(f"  … and {len(each.changed) - MOST_CHANGED} more: see --json")


def _troubles(document: Document) -> Iterator[RenderableType]:
    problems = wording.troubles(document)
    for (status, reason), names in list(problems.items())[:MOST_TROUBLES]:
        head = Text(f"{wording.SIGN[status]} {status.value}", style=STYLE[status])
        yield head.append(printable(f" {wording.joined_names(names)}"), style="bold")
        body = Text(printable(f"{reason}\n")).append(printable(f"next: {wording.NEXT[status]}"), style="cyan")
        yield Padding(body, (0, 0, 0, 2), expand=False)
    if len(problems) > MOST_TROUBLES:
        yield Text(f"… and {len(problems) - MOST_TROUBLES} more: see --json")
    for line in wording.worse_unasked(document)[:MOST_TROUBLES]:
        yield Text(printable(f"{wording.SIGN[Status.WORSE]} for information: {line}"), style="yellow")
    for each in document.comparisons:
        for row in each.rows:
            if row.accepted is not None and row.status in GOOD:
                yield Text(printable(f"{wording.SIGN[row.status]} accepted {row.name}: {row.reason}"), style="yellow")


def _table(titles: Sequence[str], *, numbers: Sequence[int] = (), header: bool = True) -> Table:
    table = Table(
        box=box.SIMPLE_HEAD if header else None,
        pad_edge=False,
        padding=(0, 1, 0, 0),
        header_style="bold",
        show_header=header,
    )
    for number, name in enumerate(titles):
        table.add_column(printable(name), justify="right" if number in numbers else "left", overflow="fold")
    return table
