"""``hil probe TARGET``: print a machine's raw facts, its identity and its state; with ``--json`` for scripts."""

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
"""Keys of the survey that the document has at its top level, not under ``facts``."""


def command(
    target: Annotated[str, typer.Argument(metavar="TARGET", help="A target of hil.toml, by its name.")],
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON document instead of the table.")] = False,  # noqa: FBT002 - an option
    config: Annotated[
        Path | None, typer.Option("--config", metavar="FILE", help="The config; default: the nearest hil.toml.")
    ] = None,
) -> None:
    """Print what a target reports about itself: its raw facts, its identity and its current state.

    Judges nothing; hil doctor does. A fact that cannot be read is null, with the reason under not_readable. While a
    session holds the target, its runtimes, GPU and drivers are not queried.

    [bold]Examples[/bold]

      hil probe jetson-orin

      hil probe jetson-orin --json | jq .identity
    """
    document = _document(target, config)
    if as_json:
        typer.echo(json.dumps(document, indent=2, ensure_ascii=False))
        return
    out = console()
    out.soft_wrap = False  # the table is drawn to the terminal's width
    out.print(_table(document))


def _document(name: str, config: Path | None) -> dict[str, Any]:
    """Return the document that ``hil probe --json`` prints about the target ``name``.

    ``identity`` is ``None`` if the target is not a known Jetson. Raise ``LabError`` if the target's interpreter cannot
    read the facts.
    """
    from hil.config.spec import TargetSpec
    from hil.doctor.run_survey import survey_target
    from hil.jetson import identity_fields
    from hil.targets.target import open_target

    runtimes = sorted(TargetSpec.model_fields["runtime"].annotation.__args__)  # type: ignore[union-attr] # a Literal
    with open_target(name, config_at(config).target(name)) as opened:
        survey = survey_target(opened, runtimes=runtimes, gpu=True)
    if survey.trouble is not None:
        raise LabError(survey.trouble)
    facts = dict(survey.facts)
    apart = {key: facts.pop(key, None) for key in APART}
    head = {"schema": SCHEMA, "target": name, "held": apart["holder"], "clock_ahead": survey.ahead}
    return {**head, "identity": identity_fields(facts.get("board")), "state": apart["state"], "facts": facts}


def _table(document: Mapping[str, Any]) -> Any:
    from rich.table import Table
    from rich.text import Text

    table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0), header_style="bold")
    table.add_column("fact", overflow="fold")
    table.add_column("value", overflow="fold")
    for part in ("identity", "state", "facts"):
        table.add_row(Text(part, style="bold"), "")
        for name, value in _lines(document[part]):
            table.add_row(Text(f"  {name}"), Text(value))
    return table


def _lines(value: Any, name: str = "") -> Iterator[tuple[str, str]]:
    """Yield the path, such as ``clocks[0].max``, and the text of each plain value in the nested tables of ``value``.

    A list of plain values counts as one value. ``name`` is the path of ``value``.
    """
    if isinstance(value, dict) and value:
        for key, inner in value.items():
            yield from _lines(inner, f"{name}.{key}" if name else str(key))
    elif isinstance(value, list) and any(isinstance(item, (dict, list)) for item in value):
        for number, inner in enumerate(value):
            yield from _lines(inner, f"{name}[{number}]")
    elif isinstance(value, list):
        yield name, ", ".join(map(str, value)) or "—"
    else:
        yield name, "—" if value in (None, {}, "") else str(value)
