"""``hil gate report/report.json``: judge a report again, from the file alone."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.table import Table
from rich.text import Text

from hil.cli.hexadecimal import full_hex
from hil.cli.views.console import console
from hil.errors import UserError

if TYPE_CHECKING:
    from hil.config.spec import GateSpec
    from hil.gate.gate import Decision
    from hil.report.schema import Report


def command(  # noqa: PLR0913 - each is an option of its own
    report: Annotated[Path, typer.Argument(metavar="REPORT", help="report.json, or its folder.")] = Path("report"),
    policy: Annotated[
        Path | None,
        typer.Option("--policy", metavar="FILE", help="Judge by \\[gate] of this file instead of the recorded policy."),
    ] = None,
    *,
    bundle: Annotated[
        Path | None,
        typer.Option(
            "--bundle", metavar="FILE", help="The signature; default: report.sigstore.json next to the report."
        ),
    ] = None,
    commit: Annotated[
        str | None, typer.Option("--commit", metavar="SHA", help="Refuse a report of any other commit.")
    ] = None,
    run: Annotated[str | None, typer.Option("--run", metavar="ID", help="Refuse a report of any other run.")] = None,
    target: Annotated[
        str | None, typer.Option("--target", metavar="NAME", help="Refuse a report of any other target.")
    ] = None,
    explain: Annotated[bool, typer.Option("--explain", help="Show each rule and the value that it judged.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print the decision as JSON.")] = False,
) -> int:
    """Judge a report again, from the file alone; the exit code is the verdict.

    The signature is read too if the policy requires one. A report that is damaged, edited or truncated is refused. This
    machine's clock decides how old the report is and whether a limit has expired.

    [bold]Examples[/bold]

      hil gate report/report.json

      hil gate report/report.json --explain

      hil gate report/report.json --policy release.toml --json

      hil gate report --commit "$(git rev-parse HEAD)" --target jetson-orin
    """
    from hil.gate.circumstances import circumstances
    from hil.gate.gate import judge, open_report

    expected = {"commit": commit, "run": run, "target": target}
    for name, value in expected.items():
        if value == "":
            raise UserError(f"--{name} is empty: is a shell variable not set? Give the {name} of the report")
    full_hex(commit, "commit")
    opened = open_report(report)
    rules = opened.policy if policy is None else _policy(policy)
    around = replace(circumstances(report, rules, bundle), commit=commit, run=run, target=target)
    decision = judge(opened, rules, around=around)
    if as_json:
        document = _as_json(opened, decision, report, policy)
        typer.echo(json.dumps({**document, "asked_for": expected}, indent=2, ensure_ascii=False))
    else:
        _show(opened, decision, policy, explain=explain)
    return decision.exit_code


def _policy(path: Path) -> GateSpec:
    from hil.config.load import load_policy

    return load_policy(path)


def _show(report: Report, decision: Decision, policy: Path | None, *, explain: bool) -> None:
    from hil.report import terminal

    out = console()
    out.soft_wrap = False  # a panel and its tables are drawn to the terminal's width
    out.print(terminal.verdict(report, decision.status, decision.reasons, decision.exit_code))
    if policy is not None:
        recorded = "as recorded" if decision.status == report.decision else f"the report records {report.decision}"
        out.print(Text(f"judged by the policy of {policy}: {decision.status}, {recorded}"))
    for block in terminal.troubles(report):
        out.print(block)
    if explain:
        out.print(_rules(decision))


def _rules(decision: Decision) -> Table:
    from hil.report.shown_text import printable

    table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0), header_style="bold")
    for name in ("rule", "", "judged value"):
        table.add_column(name, overflow="fold")
    for rule in decision.rules:
        sign = Text("✓ ok", style="green") if rule.ok else Text("✗ broken", style="bold red")
        table.add_row(Text(rule.rule), sign, Text(printable(rule.saw)))
    return table


def _as_json(report: Report, decision: Decision, path: Path, policy: Path | None) -> dict[str, Any]:
    return {
        "decision": decision.status,
        "exit_code": decision.exit_code,
        "reasons": list(decision.reasons),
        "rules": [{"rule": rule.rule, "ok": rule.ok, "saw": rule.saw} for rule in decision.rules],
        "policy": "recorded" if policy is None else str(policy),
        "recorded": {"decision": report.decision, "exit_code": report.exit_code},
        "report": {
            "path": str(path),
            "digest": report.digest,
            "status": report.status,
            "run": report.run.id,
            "target": report.target.requested,
            "commit": report.run.commit,
            "dirty": report.run.dirty,
        },
    }
