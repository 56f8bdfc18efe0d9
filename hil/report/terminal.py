"""Show the report on a terminal: the decision, a matrix of models by check families, and each problem's next steps."""

from __future__ import annotations

import io
from typing import TYPE_CHECKING

from rich import box
from rich.console import Console, Group, RenderableType
from rich.padding import Padding
from rich.panel import Panel
from rich.table import Table
from rich.text import Text

from hil.report import answers_view, engine_view, view
from hil.report.parts import boards_view
from hil.report.parts.next_steps import cause_key, next_steps
from hil.report.shown_text import printable
from hil.results import Verdict
from hil.units import show

if TYPE_CHECKING:
    from collections.abc import Sequence

    from hil.report.schema import Report
    from hil.results import CheckResult, Measurement

STYLE = {
    Verdict.PASSED: "green",
    Verdict.WARNED: "yellow",
    Verdict.FAILED: "bold red",
    Verdict.INCONCLUSIVE: "magenta",
    Verdict.NOT_RUN: "dim",
}
DECIDED = {"PASSED": "green", "WARNED": "yellow", "FAILED": "red", "INCOMPLETE": "red", "PARTIAL": "yellow"}
NUMBERS = {
    "latency.p50": "p50",
    "latency.p99": "p99",
    "fps.sustained": "FPS",
    "memory.peak": "memory",
    "memory.engine_size": "engine",
    "parity.task": "loss",
    "sequence.free_running": "error",
    "int8.speedup": "faster",
}
"""The main measurements, with their column titles."""
MOST_GROUPS = 60
WIDEST_NAME = 16
"""Up to this many characters a name stays on one line, even if the numbers of its row then wrap."""
MOST_TROUBLES = 20


def as_text(report: Report, *, width: int = 80, color: bool = False) -> str:
    """Return ``summary(report)`` as text of at most ``width`` columns, with ANSI colours if ``color``."""
    out = io.StringIO()
    console = Console(
        file=out,
        width=width,
        force_terminal=color,
        no_color=not color,
        emoji=False,
        highlight=False,
        legacy_windows=False,
    )
    console.print(summary(report))
    return "".join(line.rstrip() + "\n" for line in out.getvalue().splitlines())


def summary(report: Report) -> RenderableType:
    """Return the decision, the matrix, the main measurements, the answers and the problems."""
    tables = [table for table in (matrix(report), numbers(report), answers(report)) if table.row_count]
    return Group(verdict(report), *tables, *troubles(report))


def verdict(
    report: Report, decision: str | None = None, reasons: Sequence[str] | None = None, code: int | None = None
) -> Panel:
    """Return a panel with the decision, its reasons, the target and the evidence.

    ``decision``, ``reasons`` and ``code`` (exit code) replace the recorded values if another policy judged the report.
    """
    word = decision or view.headline(report)
    totals = report.totals
    counts = ", ".join(
        f"{getattr(totals, name)} {name.replace('_', ' ')}"
        for name in ("passed", "warned", "failed", "inconclusive", "not_run")
        if getattr(totals, name)
    )
    body = Text()
    for reason in report.reasons if reasons is None else reasons:
        body.append(f"{printable(reason)}\n")
    body.append(f"{totals.planned} check{'s' * (totals.planned != 1)}: {counts or 'none judged'}\n")
    body.append(printable(f"target {view.target_text(report)}, evidence {view.evidence_text(report)}"))
    exit_code = report.exit_code if code is None else code
    if exit_code is not None:
        body.append(f", exit code {exit_code}")
    body.append(printable(f"\n{view.commit_text(report)}"), style="yellow" if report.run.dirty else "")
    guessed = view.guessed_text(report)
    if guessed and guessed not in body.plain:
        body.append(printable(f"\n{guessed}"), style="yellow")
    if foreign := engine_view.foreign_text(report):
        body.append(printable(f"\n{foreign}"), style="yellow")
    for line in boards_view.unlike_lines(report):
        body.append(printable(f"\n{line}"), style="yellow")
    colour = DECIDED[word]
    return Panel(body, title=Text(f" {word} ", style=f"bold {colour}"), title_align="left", border_style=colour)


def matrix(report: Report) -> Table:
    """Return a table of models and precisions by check families, with the worst verdict in each cell."""
    names = view.families(report)
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False, padding=(0, 1, 0, 0), header_style="bold")
    table.add_column("model", overflow="fold", min_width=6)
    for name in names:
        table.add_column(name, overflow="fold", min_width=len(name) if name in view.FAMILIES else None)
    groups, foreign = view.groups(report), engine_view.foreign(report)
    for group in groups[:MOST_GROUPS]:
        title = Text(printable(group.title)).append(" foreign" if group.title in foreign else "", style="yellow")
        table.add_row(title, *(_cell(group.of(name)) for name in names))
    _add_rest(table, len(groups))
    return table


def _add_rest(table: Table, groups: int) -> None:
    if groups > MOST_GROUPS:
        table.add_row(f"… {groups - MOST_GROUPS} more: see report.html", *("" for _ in table.columns[1:]))


def numbers(report: Report) -> Table:
    """Return a table of the main measurements, with and without a limit; one row per model and precision."""
    measured = view.measured(report)
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False, padding=(0, 1, 0, 0), header_style="bold")
    longest = max((len(model) + len(precision) + 1 for model, precision in measured), default=0)
    table.add_column("model", overflow="fold", min_width=min(longest, WIDEST_NAME))
    shown = [check_id for check_id in NUMBERS if any(check_id in values for values in measured.values())]
    for check_id in shown:
        table.add_column(NUMBERS[check_id], justify="right", overflow="fold")
    boards = boards_view.board_of(report)
    if boards:
        table.add_column("board", overflow="fold")
    for (model, precision), values in list(measured.items())[: MOST_GROUPS if shown else 0]:
        cells: list[str | Text] = [_number(values[name]) if name in values else "" for name in shown]
        cells += [Text(printable(boards.get((model, precision), "")))] if boards else []
        table.add_row(Text(printable(f"{model} {precision}")), *cells)
    _add_rest(table, len(measured) if shown else 0)
    return table


def answers(report: Report) -> Table:
    """Return a table of the answers that were compared; one row for each kind of answer of an engine."""
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False, padding=(0, 1, 0, 0), header_style="bold")
    for title in ("model", "answers of"):
        table.add_column(title, overflow="fold", min_width=6)
    for title in ("changed", "limit", "score drift", "F1"):
        table.add_column(title, justify="right", overflow="fold")
    table.add_column("note", overflow="fold")
    groups = [group for group in view.groups(report) if answers_view.tables(group)]
    for group in groups[:MOST_GROUPS]:
        for check, rows in answers_view.tables(group):
            title = group.title if check == "parity.outputs" else f"{group.title} {check}"
            for row in rows:
                drift = f"{row.drift} (≤ {row.drift_limit})" if row.drift_limit else row.drift
                cells = (f"{row.output} ({row.kind})", row.changed, row.limit, drift, row.f1)
                note = Text(printable(row.note), style="yellow" if row.weaker else "dim")
                table.add_row(*(Text(printable(cell)) for cell in (title, *cells)), note)
    _add_rest(table, len(groups))
    return table


def _number(measurement: Measurement) -> str:
    """Return value and unit as text, without a unit that the column's title implies."""
    return show(measurement.value, measurement.unit).removesuffix(" /s").removesuffix(" x")


def _cell(checks: Sequence[CheckResult]) -> Text:
    if not checks:
        return Text("")
    worst = view.worst(checks)
    same = sum(check.verdict is worst for check in checks)
    count = f" {same}/{len(checks)}" if len(checks) > 1 and same != len(checks) else ""
    return Text(f"{view.SIGN[worst]} {view.WORD[worst]}{count}", style=STYLE[worst])


def troubles(report: Report) -> list[RenderableType]:
    """Return the text of each problem (verdict, cause, row names, reason, next steps) and of each rejected result.

    At most ``MOST_TROUBLES`` problems and as many rejected results are shown.
    """
    rows = view.troubles(report)
    lines: list[RenderableType] = []
    for trouble in rows[:MOST_TROUBLES]:
        check, cause = trouble.first, cause_key(trouble.first)
        head = Text(f"{view.SIGN[check.verdict]} {view.WORD[check.verdict]}", style=STYLE[check.verdict])
        head.append(f" ({cause})" if cause else "", style="dim").append(printable(f" {trouble.names}"), style="bold")
        body = Text(printable(check.reason))
        for step in next_steps(check):
            body.append(printable(f"\nnext: {step}"), style="cyan")
        lines += [head, Padding(body, (0, 0, 0, 2), expand=False)]
    if len(rows) > MOST_TROUBLES:
        lines.append(Text(f"… and {len(rows) - MOST_TROUBLES} more: see report.html"))
    for row in report.rejected[:MOST_TROUBLES]:
        name = " ".join(filter(None, (row.id, row.model, row.precision)))
        lines.append(Text(printable(f"{view.SIGN[Verdict.FAILED]} rejected {name}: {row.reason}"), style="bold red"))
    return lines
