"""``hil probe TARGET``: what a machine tells of itself, raw, and what that makes it; for scripts with ``--json``."""

from __future__ import annotations

import json
from pathlib import Path  # noqa: TC003 - typer reads the annotations
from typing import TYPE_CHECKING, Annotated, Any

import typer

from hil.cli.views.configs import config_at
from hil.cli.views.console import console
from hil.errors import LabError

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

SCHEMA = 1
APART = ("state", "holder", "time")
"""What stands beside the facts and not among them."""


def command(
    target: Annotated[str, typer.Argument(metavar="TARGET", help="A target of hil.toml, by its name.")],
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON document instead of the table.")] = False,  # noqa: FBT002 - an option
    config: Annotated[
        Path | None, typer.Option("--config", metavar="FILE", help="hil.toml; the nearest one if not given.")
    ] = None,
) -> None:
    """Print what a target tells of itself: raw facts, what they make it, and the state it is in.

    Judges nothing: hil doctor does. What cannot be read is null, with the reason under not_readable. While a session
    holds the target, runtimes, GPU and drivers are not asked.

    [bold]Examples[/bold]

      hil probe jetson-orin

      hil probe jetson-orin --json | jq .identity
    """
    told = _told(target, config)
    if as_json:
        typer.echo(json.dumps(told, indent=2, ensure_ascii=False))
        return
    out = console()
    out.soft_wrap = False  # the table is drawn to the width that is there
    out.print(_table(told))


def _told(name: str, config: Path | None) -> dict[str, Any]:
    """``identity`` is ``None`` where the machine is not known to be a Jetson."""
    from hil.config.spec import TargetSpec
    from hil.doctor.run_survey import look
    from hil.jetson import said
    from hil.targets.target import open_target

    runtimes = sorted(TargetSpec.model_fields["runtime"].annotation.__args__)  # type: ignore[union-attr] # a Literal
    with open_target(name, config_at(config).target(name)) as opened:
        looked = look(opened, runtimes=runtimes, gpu=True)
    if looked.trouble is not None:
        raise LabError(looked.trouble)
    facts = dict(looked.facts)
    apart = {key: facts.pop(key, None) for key in APART}
    told = {"schema": SCHEMA, "target": name, "held": apart["holder"], "clock_ahead": looked.ahead}
    return {**told, "identity": said(facts.get("board")), "state": apart["state"], "facts": facts}


def _table(told: Mapping[str, Any]) -> Any:
    from rich.table import Table
    from rich.text import Text

    table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0), header_style="bold")
    table.add_column("fact", overflow="fold")
    table.add_column("told", overflow="fold")
    for part in ("identity", "state", "facts"):
        table.add_row(Text(part, style="bold"), "")
        for name, value in _lines(told[part]):
            table.add_row(Text(f"  {name}"), Text(value))
    return table


def _lines(value: Any, name: str = "") -> Iterator[tuple[str, str]]:
    """A line for each single fact, by its path; tables are opened, lists of plain values stay on one line."""
    if isinstance(value, dict) and value:
        for key, inner in value.items():
            yield from _lines(inner, f"{name}.{key}" if name else str(key))
    elif isinstance(value, list) and any(isinstance(one, (dict, list)) for one in value):
        for number, inner in enumerate(value):
            yield from _lines(inner, f"{name}[{number}]")
    elif isinstance(value, list):
        yield name, ", ".join(map(str, value)) or "—"
    else:
        yield name, "—" if value in (None, {}, "") else str(value)
