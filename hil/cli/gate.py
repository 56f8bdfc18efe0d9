"""``hil gate report/report.json``: the same verdict again, from the file alone."""

from __future__ import annotations

import json
from datetime import datetime, timezone
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.table import Table
from rich.text import Text

from hil.cli.console import console

if TYPE_CHECKING:
    from hil.config.spec import GateSpec
    from hil.demands import Circumstances
    from hil.gate import Decision
    from hil.report.schema import Report


def command(
    report: Annotated[Path, typer.Argument(metavar="REPORT", help="report.json, or its folder.")] = Path("report"),
    policy: Annotated[
        Path | None, typer.Option("--policy", metavar="FILE", help="Judge by \\[gate] of this file instead.")
    ] = None,
    bundle: Annotated[
        Path | None,
        typer.Option("--bundle", metavar="FILE", help="The signature (default: report.sigstore.json beside it)."),
    ] = None,
    explain: Annotated[bool, typer.Option("--explain", help="Show each rule and what it saw.")] = False,  # noqa: FBT002 - an option
    as_json: Annotated[bool, typer.Option("--json", help="Print the decision as JSON.")] = False,  # noqa: FBT002 - an option
) -> int:
    """Judge a report again, from the file alone; the exit code is the verdict.

    Reads nothing but the file, and its signature where the policy wants one. A report that was damaged, edited or cut
    off is refused. Its age is judged by this machine's clock.

    [bold]Examples[/bold]

      hil gate report/report.json

      hil gate report/report.json --explain

      hil gate report/report.json --policy release.toml --json
    """
    from hil.gate import judge, open_report  # noqa: PLC0415 - pydantic and numpy are heavy, --help needs neither

    found = open_report(report)
    rules = found.policy if policy is None else _policy(policy)
    decision = judge(found, rules, around=_around(report, rules, bundle))
    if as_json:
        typer.echo(json.dumps(_as_json(found, decision, report, policy), indent=2, ensure_ascii=False))
    else:
        _show(found, decision, policy, explain=explain)
    return decision.exit_code


def _around(report: Path, policy: GateSpec, bundle: Path | None) -> Circumstances:
    from hil.demands import Circumstances  # noqa: PLC0415 - as above

    if not policy.signed_by:
        return Circumstances(datetime.now(timezone.utc))
    from hil.attestation import circumstances  # noqa: PLC0415 - only a policy that wants a signature pays for it

    return circumstances(report, policy, bundle)


def _policy(path: Path) -> GateSpec:
    from hil.config.load import load_policy  # noqa: PLC0415 - as above

    return load_policy(path)


def _show(report: Report, decision: Decision, policy: Path | None, *, explain: bool) -> None:
    from hil.report import terminal  # noqa: PLC0415 - as above

    out = console()
    out.soft_wrap = False  # a panel and its tables are drawn to the width that is there
    out.print(terminal.verdict(report, decision.status, decision.reasons, decision.exit_code))
    if policy is not None:
        same = "as recorded" if decision.status == report.decision else f"recorded was {report.decision}"
        out.print(Text(f"judged by the policy of {policy}: {decision.status}, {same}"))
    for each in terminal.troubles(report):
        out.print(each)
    if explain:
        out.print(_rules(decision))


def _rules(decision: Decision) -> Table:
    from hil.report.text import printable  # noqa: PLC0415 - as above

    table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0), header_style="bold")
    for name in ("rule", "", "saw"):
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
        "report": {"path": str(path), "digest": report.digest, "status": report.status},
    }
