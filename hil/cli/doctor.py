"""``hil doctor TARGET``: what is there, what is missing, and the command that mends it."""

from __future__ import annotations

import json
from dataclasses import asdict
from pathlib import Path  # noqa: TC003 - typer reads the annotations
from typing import TYPE_CHECKING, Annotated, Any

import typer

from hil.cli.views.configs import config_at
from hil.cli.views.console import console
from hil.errors import ExitCode
from hil.runtimes import runtime_record

if TYPE_CHECKING:
    from collections.abc import Sequence

    from rich.table import Table

    from hil.doctor import Finding
    from hil.targets.target import Target

SCHEMA = 1
SIGNS = {"ok": ("✓", "green"), "warn": ("!", "yellow"), "bad": ("✗", "bold red"), "unknown": ("?", "dim")}
"""By state; a sign each, so that the table can be read without colours."""


def command(
    target: Annotated[str, typer.Argument(metavar="TARGET", help="A target of hil.toml, by its name.")],
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON document instead of the table.")] = False,  # noqa: FBT002 - an option
    config: Annotated[
        Path | None, typer.Option("--config", metavar="FILE", help="hil.toml; the nearest one if not given.")
    ] = None,
) -> int:
    r"""Reach a target, tell what is there and what is wrong, with the command that mends it.

    Nothing is installed, changed or left behind there. While a session holds the target, what would disturb it is
    left out, and told so. Exit code 0: a session would begin; 1: something is bad; 11: the target was not reached.

    [bold]Examples[/bold]

      hil doctor jetson-orin

      hil doctor jetson-orin --json | jq -r '.findings\[] | select(.state == "bad") | .mend'
    """
    from hil.targets.target import open_target

    with open_target(target, config_at(config).target(target)) as opened:
        found, held, seconds = _examined(opened)
    ready = not any(one.state == "bad" for one in found)
    if as_json:
        told = {"schema": SCHEMA, "target": target, "ready": ready, "held": held, "seconds": round(seconds, 3)}
        told["findings"] = [asdict(one) for one in found]
        typer.echo(json.dumps(told, indent=2, ensure_ascii=False))
    else:
        _show(opened, found, seconds)
    return int(ExitCode.PASSED if ready else ExitCode.FAILED)


def _examined(target: Target) -> tuple[list[Finding], Any, float]:
    """The findings, who holds it (``None``: nobody), and how many seconds it took."""
    from hil.doctor import examine
    from hil.doctor.examine import trouble
    from hil.doctor.run_survey import look

    jetson_or_gpu = target.kind != "local" or runtime_record(target.spec.runtime).uses_gpu
    told = look(target, runtimes=[target.spec.runtime], gpu=jetson_or_gpu)
    if told.trouble is not None:
        return [trouble(target.name, told.trouble)], None, told.seconds
    found = examine(target.name, target.spec, told.facts, told.ahead)
    return found, told.facts.get("holder"), told.seconds


def _show(target: Target, found: Sequence[Finding], seconds: float) -> None:
    from rich.text import Text

    out = console()
    out.soft_wrap = False  # the table is drawn to the width that is there
    host = target.spec.host or "this machine"
    head = (f"{target.name}", "bold"), (f"  {target.kind}, {host}, runtime {target.spec.runtime}", "dim")
    out.print(Text.assemble(*head))
    out.print(_table(found))
    mends = _mends(found)
    if mends:
        out.print(Text("\nto mend:", style="bold"))
    for mend, ones in mends.items():
        signs = ((f"{SIGNS[one.state][0]} {one.what}   ", SIGNS[one.state][1]) for one in ones)
        out.print(Text.assemble(*signs), soft_wrap=True)
        # On a line of its own that is never broken, so that it can be copied.
        out.print(Text(f"    {mend}"), soft_wrap=True)
    out.print(_verdict(target.name, found, seconds))


def _mends(found: Sequence[Finding]) -> dict[str, list[Finding]]:
    """What each mend is for, the worst first: one package may bring several things that are missing."""
    wrong = [one for one in found if one.mend and one.state != "ok"]
    worst = sorted(wrong, key=lambda one: ("bad", "warn", "unknown").index(one.state))
    return {one.mend: [other for other in wrong if other.mend == one.mend] for one in worst}


def _table(found: Sequence[Finding]) -> Table:
    from rich.table import Table
    from rich.text import Text

    table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0), header_style="bold")
    table.add_column("")
    table.add_column("looked at", no_wrap=True)
    table.add_column("found", overflow="fold")
    part = None
    for one in found:
        if part not in {None, one.part}:
            table.add_row()
        part = one.part
        sign, style = SIGNS[one.state]
        words = Text(one.found, style="" if one.state in {"ok", "unknown"} else style)
        table.add_row(Text(sign, style=style), Text(one.what), words)
    return table


def _verdict(name: str, found: Sequence[Finding], seconds: float) -> Any:
    from rich.text import Text

    counts = {state: sum(one.state == state for one in found) for state in SIGNS}
    words = {"bad": "bad", "warn": "to look at", "unknown": "unknown"}
    more = [f"{counts[state]} {word}" for state, word in words.items() if counts[state]]
    ready = not counts["bad"]
    told = f"{name} is {'ready' if ready else 'not ready'}" + (f": {', '.join(more)}" if more else "")
    return Text.assemble("\n", (told, "bold green" if ready else "bold red"), (f"  ({seconds:.1f} s)", "dim"))
