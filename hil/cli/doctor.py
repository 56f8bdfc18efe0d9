"""``hil doctor TARGET``: what a target has and lacks, and how to fix each problem, if a fix is known."""

from __future__ import annotations

import json
from collections import Counter
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

    from hil.config.load import Config
    from hil.doctor import Finding
    from hil.targets.target import Target

SCHEMA = 1
SIGNS = {"ok": ("✓", "green"), "warn": ("!", "yellow"), "bad": ("✗", "bold red"), "unknown": ("?", "dim")}
"""Sign and style of each state; the signs make the table readable without colours."""


def command(
    target: Annotated[str, typer.Argument(metavar="TARGET", help="A target of hil.toml, by its name.")],
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON document instead of the table.")] = False,  # noqa: FBT002 - an option
    config: Annotated[
        Path | None, typer.Option("--config", metavar="FILE", help="The config; default: the nearest hil.toml.")
    ] = None,
) -> int:
    r"""Examine a target, and report what it has, what is wrong, and how to fix it.

    Nothing on the target is changed. While a session holds the target, whatever would disturb the session is reported
    as skipped. Exit code 0: a session could start; 1: something is bad; 11: the target cannot be reached.

    [bold]Examples[/bold]

      hil doctor jetson-orin

      hil doctor jetson-orin --json | jq -r '.findings\[] | select(.state == "bad") | .mend'
    """
    from hil.targets.target import open_target

    loaded = config_at(config)
    with open_target(target, loaded.target(target)) as opened:
        findings, held, seconds = _examine(opened, loaded)
    ready = not any(finding.state == "bad" for finding in findings)
    if as_json:
        document = {"schema": SCHEMA, "target": target, "ready": ready, "held": held, "seconds": round(seconds, 3)}
        document["findings"] = [finding.as_dict() for finding in findings]
        typer.echo(json.dumps(document, indent=2, ensure_ascii=False))
    else:
        _show(opened, findings, seconds)
    return int(ExitCode.PASSED if ready else ExitCode.FAILED)


def _examine(target: Target, config: Config) -> tuple[list[Finding], Any, float]:
    """Return the findings, who holds the target, and how many seconds the examination took.

    The holder is ``None`` if nobody holds the target, or if the target's interpreter cannot run the examination.
    """
    from hil.doctor import declared_models, examine
    from hil.doctor.examine import interpreter_finding
    from hil.doctor.run_survey import survey_target

    may_have_gpu = target.kind != "local" or runtime_record(target.spec.runtime).uses_gpu
    survey = survey_target(target, runtimes=[target.spec.runtime], gpu=may_have_gpu)
    if survey.trouble is not None:
        return [interpreter_finding(target.name, survey.trouble)], None, survey.seconds
    findings = examine(target.name, target.spec, survey.facts, survey.ahead)
    findings += declared_models.findings(config, target.name, survey.facts)
    return findings, survey.facts.get("holder"), survey.seconds


def _show(target: Target, findings: Sequence[Finding], seconds: float) -> None:
    from rich.text import Text

    out = console()
    out.soft_wrap = False  # the table is drawn to the terminal's width
    host = target.spec.host or "this machine"
    head = (f"{target.name}", "bold"), (f"  {target.kind}, {host}, runtime {target.spec.runtime}", "dim")
    out.print(Text.assemble(*head))
    out.print(_table(findings))
    fixes = _findings_by_fix(findings)
    if fixes:
        out.print(Text("\nto fix:", style="bold"))
    for fix, fixed in fixes.items():
        signs = ((f"{SIGNS[finding.state][0]} {finding.what}   ", SIGNS[finding.state][1]) for finding in fixed)
        out.print(Text.assemble(*signs), soft_wrap=True)
        # On a line of its own that is never wrapped, so that it can be copied.
        out.print(Text(f"    {fix}"), soft_wrap=True)
    out.print(_verdict(target.name, findings, seconds))


def _findings_by_fix(findings: Sequence[Finding]) -> dict[str, list[Finding]]:
    """Return the findings that are not ``ok``, grouped by their fix, the group with the worst finding first.

    Findings without a fix are left out.
    """
    wrong = [finding for finding in findings if finding.fix and finding.state != "ok"]
    worst_first = sorted(wrong, key=lambda finding: ("bad", "warn", "unknown").index(finding.state))
    return {finding.fix: [other for other in wrong if other.fix == finding.fix] for finding in worst_first}


def _table(findings: Sequence[Finding]) -> Table:
    from rich.table import Table
    from rich.text import Text

    table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0), header_style="bold")
    table.add_column("")
    table.add_column("check", no_wrap=True)
    table.add_column("result", overflow="fold")
    part = None
    for finding in findings:
        if part not in {None, finding.part}:
            table.add_row()
        part = finding.part
        sign, style = SIGNS[finding.state]
        result = Text(finding.result, style="" if finding.state in {"ok", "unknown"} else style)
        table.add_row(Text(sign, style=style), Text(finding.what), result)
    return table


def _verdict(name: str, findings: Sequence[Finding], seconds: float) -> Any:
    from rich.text import Text

    counts = Counter[str](finding.state for finding in findings)
    labels = {"bad": "bad", "warn": "to check", "unknown": "unknown"}
    more = [f"{counts[state]} {label}" for state, label in labels.items() if counts[state]]
    ready = not counts["bad"]
    verdict = f"{name} is {'ready' if ready else 'not ready'}" + (f": {', '.join(more)}" if more else "")
    return Text.assemble("\n", (verdict, "bold green" if ready else "bold red"), (f"  ({seconds:.1f} s)", "dim"))
