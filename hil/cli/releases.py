"""``hil releases robot-7``: finish or undo an interrupted deployment, then list a robot's releases."""

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
        Path | None, typer.Option("--config", metavar="FILE", help="The config; default: the nearest hil.toml.")
    ] = None,
) -> int:
    """List a robot's releases, and check every file of the current one against its hash.

    An interrupted deployment is concluded first: a release that was never confirmed healthy is rolled back. The exit
    code is 1 if the current release is damaged, or if it is neither confirmed healthy nor being deployed.

    [bold]Examples[/bold]

      hil releases robot-7

      hil releases robot-7 --json
    """
    from hil.deploy.list_releases import list_releases

    steps = Steps()
    if as_json:
        steps.out = console(stderr=True)
    listing = list_releases(config_at(config), robot, steps.print_step)
    if as_json:
        typer.echo(json.dumps(_as_json(robot, listing), indent=2, ensure_ascii=False))
    else:
        _show(robot, listing)
    return int(ExitCode.PASSED if _sound(listing) else ExitCode.FAILED)


def _sound(listing: Listing) -> bool:
    return listing.current is None or (not listing.damage and (_healthy(listing, listing.current) or listing.busy))


def _healthy(listing: Listing, release: str) -> bool:
    return any(entry["release"] == release and entry["healthy"] for entry in listing.releases)


def _as_json(robot: str, listing: Listing) -> dict[str, Any]:
    releases = [
        {"release": entry["release"], "current": entry["release"] == listing.current, "healthy": entry["healthy"]}
        | {"manifest": entry["manifest"]}
        for entry in reversed(listing.releases)
    ]
    return {
        "schema": SCHEMA,
        "robot": robot,
        "folder": listing.folder,
        "current": listing.current,
        "damage": listing.damage,
        "sound": _sound(listing),
        "previous": listing.previous,
        "under_way": listing.busy,
        "releases": releases,
        "history": list(listing.history),
    }


def _show(robot: str, listing: Listing) -> None:
    out = console()
    out.soft_wrap = False  # tables are drawn to the terminal's width
    if not listing.releases:
        out.print(Text(f"{robot} has no releases yet: `hil deploy REPORT --to {robot}` deploys one"))
        return
    table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0), header_style="bold")
    for column in ("", "release", "healthy", "engines", "evidence", "report"):
        table.add_column(column, overflow="fold", no_wrap=column in {"", "release", "healthy"})
    for entry in reversed(listing.releases):
        table.add_row(*_row(entry, listing))
    out.print(table)
    if listing.damage:
        out.print(Text(f"✗ the current release is damaged: {listing.damage}", style="bold red"))
    if listing.busy:
        holder = listing.holder
        out.print(Text(f"! a deployment by {holder.get('who', 'somebody')} is in progress", style="yellow"))
    for line in listing.history[-SHOWN:]:
        out.print(Text(f"{line.get('at')}  {line.get('kind')}: {line.get('outcome')}: {line.get('text')}", style="dim"))


def _row(entry: Mapping[str, Any], listing: Listing) -> list[Text]:
    from hil.report.shown_text import one_line

    manifest = entry["manifest"] or {}
    is_current = entry["release"] == listing.current
    engines = ", ".join(f"{engine.get('model')} {engine.get('precision')}" for engine in manifest.get("engines") or [])
    judged = manifest.get("judged") or {}
    healthy = Text("✓ yes", style="green") if entry["healthy"] else Text("no", style="yellow")
    mark = Text("▶", style="bold green") if is_current else Text(" ")
    name = Text(str(entry["release"])[:12], style="bold" if is_current else "")
    evidence = str(judged.get("evidence", "unknown"))
    style = "" if evidence == "device" else "bold red"
    if isinstance(manifest.get("image"), dict):
        engines += f", in image {str(manifest['image'].get('id'))[:12]}"
    cells = [Text(one_line(engines, 90)), Text(one_line(evidence, 20), style=style)]
    return [mark, name, healthy, *cells, Text(str(judged.get("report", ""))[:12])]
