"""``hil history``: list runs, show one run, import reports, and name and list baselines."""

from __future__ import annotations

import json
from pathlib import Path  # noqa: TC003 - typer reads the annotations
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.table import Table
from rich.text import Text

from hil.cli.accept import File, Where, Who, acceptance_line, decider
from hil.cli.views.console import console
from hil.cli.views.histories import history_at
from hil.errors import UserError

if TYPE_CHECKING:
    from hil.history import Point, RunRecord

group = typer.Typer(invoke_without_command=True, context_settings={"help_option_names": ["-h", "--help"]})
AsJson = Annotated[bool, typer.Option("--json", help="Print JSON.")]
STYLE = {"PASSED": "green", "WARNED": "yellow", "FAILED": "red", "incomplete": "red"}
COMMIT = 7


@group.callback()
def command(  # noqa: PLR0913, PLR0917 - typer passes each option by name
    context: typer.Context,
    model: Annotated[
        str | None, typer.Option("--model", metavar="M", help="Only runs that measured this model.")
    ] = None,
    target: Annotated[
        str | None, typer.Option("--target", metavar="NAME", help="Only runs requested on this target.")
    ] = None,
    limit: Annotated[int, typer.Option("--limit", metavar="N", min=1, max=100_000, help="Show at most N.")] = 20,
    as_json: AsJson = False,  # noqa: FBT002 - an option, given by name
    history: Where = None,
    config: File = None,
) -> None:
    """List the runs in the history, newest first, with their decisions.

    [bold]Examples[/bold]

      hil history --model detector --limit 5

      hil history show latest

      hil history import report/report.json

      hil history baseline release-4 latest --why "what robots run since June"
    """
    if context.invoked_subcommand is not None:
        return
    with history_at(history, config) as database:
        runs = database.runs(limit=limit, model=model, target=target)
        models = database.models([run.id for run in runs])
    if as_json:
        typer.echo(json.dumps([{**_plain(run), "models": models.get(run.id, ())} for run in runs], indent=2))
    else:
        _show(runs, models)


@group.command()
def show(
    run: Annotated[str, typer.Argument(metavar="RUN", help="A run's id, latest, latest~1, a baseline's name, …")],
    as_json: AsJson = False,  # noqa: FBT002 - an option, given by name
    history: Where = None,
    config: File = None,
) -> None:
    """Show everything that one run measured."""
    with history_at(history, config) as database:
        record = database.find(run)
        points = database.points([record.id])
    if as_json:
        measured = [{name: value for name, value in vars(point).items() if name != "run"} for point in points]
        typer.echo(json.dumps({**_plain(record), "points": measured}, indent=2))
        return
    out = console()
    for name, value in _plain(record).items():
        if value not in (None, ""):
            out.print(Text(f"{name.replace('_', ' ')}: {_safe(value)}"))
    out.print()
    out.print(_points(points))


@group.command("import")
def import_reports(
    reports: Annotated[list[Path], typer.Argument(metavar="REPORT…", help="report.json, or its folder.")],
    history: Where = None,
    config: File = None,
) -> None:
    """Add reports of other machines to the history. Damaged or edited reports are refused.

    A report that is already in the history is not added again.
    """
    from hil.gate.gate import open_report

    opened = [open_report(path) for path in reports]  # all of them first: if one is refused, none is added
    with history_at(history, config, read_only=False) as database:
        for path, report in zip(reports, opened, strict=True):
            new = database.append(report)
            console().print(Text(f"{path}: run {report.run.id} {'added' if new else 'is in the history already'}"))


@group.command()
def baseline(  # noqa: PLR0913, PLR0917 - as above
    name: Annotated[str, typer.Argument(metavar="NAME", help="The name for comparisons, e.g. release-4.")],
    refs: Annotated[list[str], typer.Argument(metavar="RUN…", help="Runs: ids, latest, jetpack:6.2, commit:SHA, …")],
    why: Annotated[str, typer.Option("--why", metavar="REASON", help="Why these runs; kept in the history.")],
    who: Who = None,
    history: Where = None,
    config: File = None,
) -> None:
    """Give runs a name, for use as --hil-baseline NAME or in hil compare NAME latest.

    A name stands for the runs in its latest assignment. Earlier assignments stay in the history.

    [bold]Examples[/bold]

      hil history baseline release-4 latest --why "what robots run since June"
    """
    if not why.strip():
        raise UserError("--why is empty: write why you chose these runs; the reason is kept in the history")
    with history_at(history, config, read_only=False) as database:
        runs = dict.fromkeys(run.id for ref in refs for run in database.resolve(ref))
        database.name_baseline(name, list(runs), who=decider(who), why=why.strip())
    console().print(Text(f"{_safe(name)}: {', '.join(runs)}"))


@group.command()
def baselines(history: Where = None, config: File = None) -> None:
    """List the named baselines: their runs, and who named them, when and why. The last entry of a name applies."""
    with history_at(history, config) as database:
        names = database.baselines()
    if not names:
        console().print("there are no named baselines: add one with hil history baseline NAME RUN --why REASON")
        return
    last = {entry.name: number for number, entry in enumerate(names)}
    table = _table(["name", "runs", "by", "on", "why"], whole=("name", "on"))
    for number, entry in enumerate(names):
        cells = (entry.name, ", ".join(entry.runs), entry.who, f"{entry.when:%Y-%m-%d}", entry.why)
        table.add_row(*(Text(_safe(cell), style="" if last[entry.name] == number else "dim") for cell in cells))
    console().print(table)


@group.command()
def accepted(
    model: Annotated[str | None, typer.Option("--model", metavar="M", help="Only levels of this model.")] = None,
    history: Where = None,
    config: File = None,
) -> None:
    """List the levels that were accepted with hil accept, oldest first: who accepted them, when and why."""
    with history_at(history, config) as database:
        acceptances = database.acceptances(model=model)
    for acceptance in acceptances:
        console().print(Text(acceptance_line(acceptance)))
    if not acceptances:
        console().print("no level has been accepted")


def _show(runs: list[RunRecord], models: dict[str, tuple[str, ...]]) -> None:
    if not runs:
        console().print("no run matches: run pytest --target=NAME, or hil history import REPORT")
        return
    rows = [_row(run, models.get(run.id, ())) for run in runs]
    # Columns that are empty for every run (board, JetPack, commit) are left out.
    names = [name for name in rows[0] if any(row[name] for row in rows)]
    table = _table(names, whole=("run", "started", "commit"))
    for run, row in zip(runs, rows, strict=True):
        styles = {"decision": STYLE.get(run.decision, "")}
        table.add_row(*(Text(_safe(row[name]), style=styles.get(name, "")) for name in names))
    console().print(table)


def _row(run: RunRecord, models: tuple[str, ...]) -> dict[str, str]:
    interrupted = "" if run.whole or run.decision == "incomplete" else ", interrupted"
    return {
        "run": run.id,
        "started": f"{run.started:%Y-%m-%d %H:%M}",
        "decision": run.decision + interrupted,
        "target": f"{run.target} → {run.used}" if run.fallback else run.target,
        "board": " ".join(filter(None, (run.board or run.module, run.serial))),
        "JetPack": run.jetpack or "",
        "commit": (run.commit or "")[:COMMIT] + ("+" if run.dirty else ""),
        "evidence": run.evidence or "",
        "models": ", ".join(models),
    }


def _points(points: list[Point]) -> Table:
    from hil.units import show as quantity

    table = _table(["check", "of", "value", "interval", "verdict"], whole=("check", "of", "value"))
    for point in points:
        ends = [quantity(bound, point.unit) for bound in (point.low, point.high) if bound is not None]
        value, verdict = quantity(point.value, point.unit), point.verdict.replace("_", " ")
        cells = (point.check, f"{point.model} {point.precision}", value, " to ".join(ends), verdict)
        table.add_row(*(Text(_safe(cell)) for cell in cells))
    return table


def _table(names: list[str], whole: tuple[str, ...]) -> Table:
    table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0), header_style="bold")
    for name in names:
        table.add_column(name, overflow="fold", no_wrap=name in whole)
    return table


def _plain(run: RunRecord) -> dict[str, Any]:
    return {**vars(run), "started": run.started.isoformat(), "usable": run.usable}


def _safe(value: object) -> str:
    """Return ``value`` as one line of at most 200 characters, without control characters of a terminal."""
    from hil.report.shown_text import one_line

    return one_line(str(value), 200)
