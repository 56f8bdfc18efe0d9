"""``hil targets``: list the config's targets; with ``--check``, report which ones answer and who holds them."""

from __future__ import annotations

import json
from pathlib import Path  # noqa: TC003 - typer reads the annotations
from typing import TYPE_CHECKING, Annotated, Any

import typer

from hil.cli.views.configs import config_at
from hil.cli.views.console import console
from hil.errors import ExitCode, HilError

if TYPE_CHECKING:
    from collections.abc import Mapping

    from hil.config.load import Config
    from hil.config.spec import TargetSpec

SCHEMA = 1
AT_ONCE = 16
"""How many machines are contacted at the same time."""


def command(
    check: Annotated[bool, typer.Option("--check", help="Contact all targets, at the same time.")] = False,  # noqa: FBT002 - an option
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON document instead of the table.")] = False,  # noqa: FBT002 - an option
    release: Annotated[
        str | None,
        typer.Option("--release", metavar="PLACE", help="Free this lab place, if a dead run of this machine holds it."),
    ] = None,
    config: Annotated[
        Path | None, typer.Option("--config", metavar="FILE", help="The config; default: the nearest hil.toml.")
    ] = None,
) -> int:
    """List the targets of hil.toml; with --check, report which ones answer and who holds them.

    Without --check, no target is contacted. With it, the exit code is 11 if any target does not answer. A target that
    somebody holds does answer. A pool answers if one of its members does. For a lab, each place is listed. With
    --release, nothing is listed: the place is freed if a dead run of this machine holds it.

    [bold]Examples[/bold]

      hil targets

      hil targets --check

      hil targets --release orin-place-3
    """
    specs = _specs(config_at(config))
    if release is not None:
        from hil.pools import stale_places

        labs = {name: spec for name, spec in specs.items() if spec.kind == "labgrid"}
        typer.echo(stale_places.release(release, labs))
        return int(ExitCode.PASSED)
    answers = _contact_all(specs) if check else {}
    if as_json:
        entries = [_entry(name, spec, answers.get(name)) for name, spec in specs.items()]
        typer.echo(json.dumps({"schema": SCHEMA, "targets": entries}, indent=2, ensure_ascii=False))
    else:
        _show(specs, answers, check=check)
    return int(ExitCode.LAB_ERROR if any(why for why, _ in answers.values()) else ExitCode.PASSED)


def _specs(config: Config) -> dict[str, TargetSpec]:
    """Return the targets by name, in the order of the file; ``cpu`` is last if the file does not declare it."""
    from hil.config.load import CPU

    names = [*config.spec.targets, *({CPU} - set(config.spec.targets))]
    return {name: config.target(name) for name in names}


def _contact_all(specs: Mapping[str, TargetSpec]) -> dict[str, tuple[str | None, Any]]:
    """Contact each target; return, by its name, why it does not answer (``None`` if it does) and who holds it.

    The holder is ``None`` if it is unknown or nobody holds the target. For a lab it is a dict with the list ``places``,
    for a pool of which every member that answers is held, a dict with the list ``boards``.
    """
    from concurrent.futures import ThreadPoolExecutor

    single = {name: spec for name, spec in specs.items() if spec.kind != "pool"}
    with ThreadPoolExecutor(AT_ONCE) as pool:
        answers = dict(zip(single, pool.map(_contact, single, single.values()), strict=True))
    return {name: answers[name] if name in answers else _of_pool(spec, answers) for name, spec in specs.items()}


def _of_pool(spec: TargetSpec, answers: Mapping[str, tuple[str | None, Any]]) -> tuple[str | None, Any]:
    """Return the answer of the pool ``spec``, from the ``answers`` of its members.

    The reason is ``None`` if at least one member answers.
    """
    held = {name: answers[name][1] for name in spec.members if answers[name][0] is None}
    if not held:
        return f"no member answers: {'; '.join(str(answers[name][0]) for name in spec.members)}", None
    free = [name for name, holder in held.items() if holder is None]
    return None, None if free else {"boards": [{"place": name, **dict(holder)} for name, holder in held.items()]}


def _contact(name: str, spec: TargetSpec) -> tuple[str | None, Any]:
    from hil.doctor.run_survey import holder_of
    from hil.pools.stale_places import places_of
    from hil.targets.target import open_target

    try:
        if spec.kind == "labgrid":
            return None, {"places": places_of(name, spec)}
        return holder_of(open_target(name, spec))
    except HilError as error:
        return str(error), None


def _entry(name: str, spec: TargetSpec, answer: tuple[str | None, Any] | None) -> dict[str, Any]:
    keys = ("kind", "host", "runtime", "board", "evidence")
    entry: dict[str, Any] = {"name": name, **{key: getattr(spec, key) for key in keys}}
    if answer is not None:
        entry |= {"reachable": answer[0] is None, "why_not": answer[0], "held": answer[1]}
    return entry


def _show(specs: Mapping[str, TargetSpec], answers: Mapping[str, tuple[str | None, Any]], *, check: bool) -> None:
    from rich.table import Table
    from rich.text import Text

    table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0), header_style="bold")
    for column in ("target", "kind", "host", "runtime", "board", *(("answers", "held") if check else ())):
        table.add_column(column, overflow="fold", no_wrap=column in {"target", "kind", "runtime", "answers"})
    for name, spec in specs.items():
        board = spec.board or "—"
        cells = [Text(name, style="bold"), Text(spec.kind), Text(spec.host or "—"), Text(spec.runtime), Text(board)]
        if check:
            why, holder = answers[name]
            sign = Text("✗ no", style="bold red") if why else Text("✓ yes", style="green")
            cells += [sign, Text("—" if why else "no" if _is_free(holder) else "yes")]
        table.add_row(*cells)
    out = console()
    out.soft_wrap = False  # the table is drawn to the terminal's width
    out.print(table)
    for name, (why, holder) in answers.items():
        if why:
            out.print(Text.assemble(("✗ ", "bold red"), why), soft_wrap=True)
        elif holder is not None:
            for line in _lines(name, specs[name], holder):
                out.print(Text(line), soft_wrap=True)


def _is_free(holder: Any) -> bool:
    """Return whether nobody holds the target; for a lab, whether at least one of its places is free."""
    return holder is None or any(not each["by"] for each in holder.get("places", ()))


def _lines(name: str, spec: TargetSpec, holder: Any) -> list[str]:
    from hil.pools.stale_places import described

    if "places" in holder:
        return [f"{name}: {described(each, str(spec.coordinator))}" for each in holder["places"]]
    if "boards" in holder:
        return [f"{name}: all boards that answer are held: {', '.join(each['place'] for each in holder['boards'])}"]
    return [f"{name} is held by {_holder(holder)}"]


def _holder(holder: Any) -> str:
    return (
        f"{holder.get('who', 'somebody')} from {holder.get('host', 'unknown')} since {holder.get('since', 'unknown')}"
    )
