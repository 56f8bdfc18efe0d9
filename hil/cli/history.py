"""``hil history``: the runs that were kept, one run in full, and reports that were kept elsewhere."""

from __future__ import annotations

import json
from pathlib import Path  # noqa: TC003 - typer reads annotations as it runs
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.table import Table
from rich.text import Text

from hil.cli.accept import File, Where, Who, by, told
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
    model: Annotated[str | None, typer.Option("--model", metavar="M", help="Runs that measured this model.")] = None,
    target: Annotated[str | None, typer.Option("--target", metavar="NAME", help="Runs asked for on this one.")] = None,
    limit: Annotated[int, typer.Option("--limit", metavar="N", min=1, max=100_000, help="Show at most N.")] = 20,
    as_json: AsJson = False,  # noqa: FBT002 - an option, given by name
    history: Where = None,
    config: File = None,
) -> None:
    """List the runs that were kept, newest first, with what became of them.

    [bold]Examples[/bold]

      hil history --model detector --limit 5

      hil history show latest

      hil history import report/report.json

      hil history baseline release-4 latest --why "what robots run since June"
    """
    if context.invoked_subcommand is not None:
        return
    with history_at(history, config) as kept:
        runs = kept.runs(limit=limit, model=model, target=target)
        models = kept.models([run.id for run in runs])
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
    """Show all that one run measured."""
    with history_at(history, config) as kept:
        found = kept.find(run)
        points = kept.points([found.id])
    if as_json:
        measured = [{name: value for name, value in vars(point).items() if name != "run"} for point in points]
        typer.echo(json.dumps({**_plain(found), "points": measured}, indent=2))
        return
    out = console()
    for name, value in _plain(found).items():
        if value not in (None, ""):
            out.print(Text(f"{name.replace('_', ' ')}: {_safe(value)}"))
    out.print()
    out.print(_points(points))


@group.command("import")
def bring(
    reports: Annotated[list[Path], typer.Argument(metavar="REPORT…", help="report.json, or its folder.")],
    history: Where = None,
    config: File = None,
) -> None:
    """Keep reports that were written elsewhere; one that is damaged or edited is refused.

    Keeping a report twice is no mistake: it stays in the history once.
    """
    from hil.gate.gate import open_report

    found = [open_report(path) for path in reports]  # all of them first: nothing is kept if one is refused
    with history_at(history, config, read_only=False) as kept:
        for path, report in zip(reports, found, strict=True):
            new = kept.append(report)
            console().print(Text(f"{path}: run {report.run.id} {'kept' if new else 'was there already'}"))


@group.command()
def baseline(  # noqa: PLR0913, PLR0917 - as above
    name: Annotated[str, typer.Argument(metavar="NAME", help="What comparisons call them, e.g. release-4.")],
    refs: Annotated[list[str], typer.Argument(metavar="RUN…", help="Runs: ids, latest, jetpack:6.2, commit:SHA, …")],
    why: Annotated[str, typer.Option("--why", metavar="REASON", help="Why these runs; stays on record.")],
    who: Who = None,
    history: Where = None,
    config: File = None,
) -> None:
    """Give runs a name, to compare with: --hil-baseline NAME, hil compare NAME latest.

    The last runs that were given a name are what it means; the earlier ones stay on record.

    [bold]Examples[/bold]

      hil history baseline release-4 latest --why "what robots run since June"
    """
    if not why.strip():
        raise UserError("--why: is empty: say why these runs, it stays on record")
    with history_at(history, config, read_only=False) as kept:
        runs = dict.fromkeys(run.id for ref in refs for run in kept.resolve(ref))
        kept.name_baseline(name, list(runs), who=by(who), why=why.strip())
    console().print(Text(f"{_safe(name)}: {', '.join(runs)}"))


@group.command()
def baselines(history: Where = None, config: File = None) -> None:
    """List the names that were given to runs, by whom, when and why; the last one of a name counts."""
    with history_at(history, config) as kept:
        found = kept.baselines()
    if not found:
        console().print("no baseline has a name: hil history baseline NAME RUN --why REASON")
        return
    last = {one.name: number for number, one in enumerate(found)}
    table = _table(["name", "runs", "by", "on", "why"], whole=("name", "on"))
    for number, one in enumerate(found):
        cells = (one.name, ", ".join(one.runs), one.who, f"{one.when:%Y-%m-%d}", one.why)
        table.add_row(*(Text(_safe(cell), style="" if last[one.name] == number else "dim") for cell in cells))
    console().print(table)


@group.command()
def accepted(
    model: Annotated[str | None, typer.Option("--model", metavar="M", help="Of this model.")] = None,
    history: Where = None,
    config: File = None,
) -> None:
    """List the levels that were accepted with hil accept, oldest first: by whom, when and why."""
    with history_at(history, config) as kept:
        found = kept.acceptances(model=model)
    for act in found:
        console().print(Text(told(act)))
    if not found:
        console().print("nothing was accepted")


def _show(runs: list[RunRecord], models: dict[str, tuple[str, ...]]) -> None:
    if not runs:
        console().print("no run fits")
        return
    rows = [_row(run, models.get(run.id, ())) for run in runs]
    # What no run has (a board, a JetPack, a commit) takes no room.
    names = [name for name in rows[0] if any(row[name] for row in rows)]
    table = _table(names, whole=("run", "started", "commit"))
    for run, row in zip(runs, rows, strict=True):
        styles = {"decision": STYLE.get(run.decision, "")}
        table.add_row(*(Text(_safe(row[name]), style=styles.get(name, "")) for name in names))
    console().print(table)


def _row(run: RunRecord, models: tuple[str, ...]) -> dict[str, str]:
    broken = "" if run.whole or run.decision == "incomplete" else ", broken off"
    return {
        "run": run.id,
        "started": f"{run.started:%Y-%m-%d %H:%M}",
        "decision": run.decision + broken,
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
        ends = [quantity(each, point.unit) for each in (point.low, point.high) if each is not None]
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
    """Text that others wrote (a board's, a model's) on one line, without what a terminal obeys."""
    from hil.report.shown_text import one_line

    return one_line(str(value), 200)
