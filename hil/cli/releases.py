"""``hil releases robot-7``: what runs on a robot, what ran before, and what an interrupted deployment left, ended."""

from __future__ import annotations

import json
from pathlib import Path  # noqa: TC003 - typer reads the annotations
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.table import Table
from rich.text import Text

from hil.cli.views.configs import config_at
from hil.cli.views.console import console
from hil.cli.views.robots import Steps
from hil.errors import ExitCode

if TYPE_CHECKING:
    from collections.abc import Mapping

    from hil.deploy.robot import Listing

SCHEMA = 1
SHOWN = 5


def command(
    robot: Annotated[str, typer.Argument(metavar="ROBOT", help="A target of hil.toml, by its name.")],
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON document instead of the tables.")] = False,  # noqa: FBT002 - an option
    config: Annotated[
        Path | None, typer.Option("--config", metavar="FILE", help="hil.toml; the nearest one if not given.")
    ] = None,
) -> int:
    """Tell which release a robot runs, after hashing every file of it, and which others are there.

    A deployment that was interrupted is ended first: a release that was not seen to be healthy is taken back. The
    exit code is 1 where what runs is damaged or was not seen to be healthy.

    [bold]Examples[/bold]

      hil releases robot-7

      hil releases robot-7 --json
    """
    from hil.deploy.list_releases import listed

    steps = Steps()
    if as_json:
        steps.out = console(stderr=True)
    found = listed(config_at(config), robot, steps.tell)
    if as_json:
        typer.echo(json.dumps(_as_json(robot, found), indent=2, ensure_ascii=False))
    else:
        _show(robot, found)
    return int(ExitCode.PASSED if _sound(found) else ExitCode.FAILED)


def _sound(found: Listing) -> bool:
    return found.current is None or (not found.damage and (_healthy(found, found.current) or found.busy))


def _healthy(found: Listing, release: str) -> bool:
    return any(one["release"] == release and one["healthy"] for one in found.releases)


def _as_json(robot: str, found: Listing) -> dict[str, Any]:
    releases = [
        {"release": one["release"], "current": one["release"] == found.current, "healthy": one["healthy"]}
        | {"manifest": one["manifest"]}
        for one in reversed(found.releases)
    ]
    return {
        "schema": SCHEMA,
        "robot": robot,
        "folder": found.folder,
        "current": found.current,
        "damage": found.damage,
        "sound": _sound(found),
        "previous": found.previous,
        "under_way": found.busy,
        "releases": releases,
        "history": list(found.history),
    }


def _show(robot: str, found: Listing) -> None:
    out = console()
    out.soft_wrap = False  # tables are drawn to the width that is there
    if not found.releases:
        out.print(Text(f"{robot} has no releases yet: `hil deploy REPORT --to {robot}` brings one"))
        return
    table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0), header_style="bold")
    for column in ("", "release", "healthy", "engines", "evidence", "report"):
        table.add_column(column, overflow="fold", no_wrap=column in {"", "release", "healthy"})
    for one in reversed(found.releases):
        table.add_row(*_row(one, found))
    out.print(table)
    if found.damage:
        out.print(Text(f"✗ the release that runs is damaged: {found.damage}", style="bold red"))
    if found.busy:
        holder = found.holder
        out.print(Text(f"! a deployment by {holder.get('who', 'somebody')} is under way", style="yellow"))
    for line in found.history[-SHOWN:]:
        out.print(Text(f"{line.get('at')}  {line.get('kind')}: {line.get('outcome')}: {line.get('text')}", style="dim"))


def _row(one: Mapping[str, Any], found: Listing) -> list[Text]:
    from hil.report.shown_text import one_line

    about = one["manifest"] or {}
    runs = one["release"] == found.current
    engines = ", ".join(f"{engine.get('model')} {engine.get('precision')}" for engine in about.get("engines") or [])
    judged = about.get("judged") or {}
    sign = Text("✓ yes", style="green") if one["healthy"] else Text("no", style="yellow")
    mark = Text("▶", style="bold green") if runs else Text(" ")
    name = Text(str(one["release"])[:12], style="bold" if runs else "")
    evidence = str(judged.get("evidence", "unknown"))
    style = "" if evidence == "device" else "bold red"
    if isinstance(about.get("image"), dict):
        engines += f", in image {str(about['image'].get('id'))[:12]}"
    words = [Text(one_line(engines, 90)), Text(one_line(evidence, 20), style=style)]
    return [mark, name, sign, *words, Text(str(judged.get("report", ""))[:12])]
