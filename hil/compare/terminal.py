"""A comparison on a terminal: what became of it, the rows, what changed, and what to do next."""

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


def shown(found: Document) -> Iterator[RenderableType]:
    """All of it, top to bottom."""
    yield _head(found)
    if found.by is None:
        for each in found.comparisons:
            yield from _rows(each)
            yield from _changed(each)
    else:
        yield from _matrix(found)
        for each in found.comparisons:
            yield from _changed(each)
    yield from _troubles(found)


def _head(found: Document) -> Panel:
    word, colour = ("PASSED", "green") if found.passed else ("NOT PASSED", "red")
    body = Text(f"{wording.headline(found)}\n")
    for each in found.comparisons:
        base, cand = wording.sides(each)
        body.append(printable(f"{base} → {cand}\n"))
    body.append(wording.rule(found), style="dim")
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


def _matrix(found: Document) -> Iterator[RenderableType]:
    names = wording.columns(found)
    for (model, precision), lines in wording.matrix(found).items():
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
    return Text(f"{wording.SIGN[row.status]} {row.status.value}", style=STYLE[row.status] if row.counts else "dim")


def _changed(each: Compared) -> Iterator[RenderableType]:
    title = Text(printable(f"what changed from {each.base.name} to {each.cand.name}"), style="bold")
    if not each.changed:
        yield title.append(": nothing that is recorded", style="not bold")
        return
    yield title
    table = _table(("", "base", "candidate"), header=False)
    for one in each.changed[:MOST_CHANGED]:
        table.add_row(*(Text(printable(part)) for part in (one.name, one.base, one.cand)))
    yield Padding(table, (0, 0, 0, 2))
    if len(each.changed) > MOST_CHANGED:
        yield Text(f"  … and {len(each.changed) - MOST_CHANGED} more: see --json")


def _troubles(found: Document) -> Iterator[RenderableType]:
    told = wording.troubles(found)
    for (status, reason), names in list(told.items())[:MOST_TROUBLES]:
        head = Text(f"{wording.SIGN[status]} {status.value}", style=STYLE[status])
        yield head.append(printable(f" {wording.named(names)}"), style="bold")
        body = Text(printable(f"{reason}\n")).append(printable(f"next: {wording.NEXT[status]}"), style="cyan")
        yield Padding(body, (0, 0, 0, 2), expand=False)
    if len(told) > MOST_TROUBLES:
        yield Text(f"… and {len(told) - MOST_TROUBLES} more: see --json")
    for each in found.comparisons:
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
