"""``hil verify report --key hil.pub``: verify a report's signature, its decision and the files that it judged."""

from __future__ import annotations

import json
import os
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.table import Table
from rich.text import Text

from hil.cli.hexadecimal import full_hex
from hil.cli.views.console import console
from hil.errors import UserError
from hil.units import Dimension, parse

if TYPE_CHECKING:
    from hil.attestation import Role, Verified

Files = list[Path] | None
DIRTY = {
    "yes": " (the run also used files that are not in this commit)",
    "no": "",
    "": " (whether the run used files outside this commit is unknown)",
}


def command(  # noqa: PLR0913 - each is an option of its own
    bundle: Annotated[
        Path, typer.Argument(metavar="BUNDLE", help="report.sigstore.json, or the report's folder.")
    ] = Path("report"),
    *,
    key: Annotated[
        Files, typer.Option("--key", metavar="FILE", help="Accept signatures of this public key (PEM); repeatable.")
    ] = None,
    report: Annotated[
        Path | None,
        typer.Option(
            "--report", metavar="FILE", help="The report; default: report.json next to the bundle, if it exists."
        ),
    ] = None,
    engine: Annotated[
        Files, typer.Option("--engine", metavar="FILE", help="Require this to be a judged engine; repeatable.")
    ] = None,
    onnx: Annotated[
        Files, typer.Option("--onnx", metavar="FILE", help="Require this to be a judged model; repeatable.")
    ] = None,
    external_data: Annotated[
        Files,
        typer.Option(
            "--external-data", metavar="FILE", help="Require this to be external data of a judged model; repeatable."
        ),
    ] = None,
    deployed: Annotated[
        Files,
        typer.Option(
            "--deployed",
            metavar="FILE",
            help="Require this to be the 'deployed' ONNX file of a judged model; repeatable.",
        ),
    ] = None,
    plugin: Annotated[
        Files,
        typer.Option("--plugin", metavar="FILE", help="Require this to be a plugin of a judged engine; repeatable."),
    ] = None,
    calibration_cache: Annotated[
        Files,
        typer.Option(
            "--calibration-cache",
            metavar="FILE",
            help="Require this to be a calibration cache of a judged engine; repeatable.",
        ),
    ] = None,
    max_age: Annotated[
        str | None, typer.Option("--max-age", metavar="AGE", help="Refuse a run that ended longer ago, e.g. '7 days'.")
    ] = None,
    newer_than: Annotated[
        str | None,
        typer.Option("--newer-than", metavar="TIME", help="Refuse a run that ended at or before this time (ISO 8601)."),
    ] = None,
    commit: Annotated[
        str | None, typer.Option("--commit", metavar="SHA", help="Refuse a report of any other commit.")
    ] = None,
    report_digest: Annotated[
        str | None, typer.Option("--report-digest", metavar="SHA256", help="Refuse any other report.json.")
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print the result as JSON.")] = False,
) -> None:
    """Verify a signed report; exit code 0 only if the signature holds and the gate passed.

    If report.json is available, it is judged again, and the result must equal what was signed. To refuse an old report
    that is presented again, use --max-age, --newer-than, --commit or --report-digest. --commit also refuses a run that
    used files outside that commit.

    [bold]Examples[/bold]

      hil verify report --key hil.pub

      hil verify report/report.sigstore.json --key hil.pub --engine detector-int8.plan --max-age "7 days"

      hil verify report --key hil.pub --commit "$(git rev-parse HEAD)" --json
    """
    from hil.attestation import Freshness, public_key, verify

    roles: tuple[tuple[Role, Files], ...] = (
        ("engine", engine),
        ("onnx", onnx),
        ("external-data", external_data),
        ("deployed", deployed),
        ("plugin", plugin),
        ("calibration-cache", calibration_cache),
    )
    verified = verify(
        bundle,
        keys=[public_key(path) for path in key or ()],
        report=report or _report_next_to(bundle),
        files=[(role, path) for role, paths in roles for path in paths or ()],
        fresh=Freshness(
            _age(max_age), _moment(newer_than), full_hex(commit, "commit"), full_hex(report_digest, "digest")
        ),
    )
    if as_json:
        typer.echo(json.dumps(_as_json(verified), indent=2, ensure_ascii=False))
    else:
        _show(verified)


def _report_next_to(bundle: Path) -> Path | None:
    file = (bundle if bundle.is_dir() else bundle.parent) / "report.json"
    return file if os.path.lexists(file) else None  # a link that leads nowhere is refused when it is read


def _age(text: str | None) -> float | None:
    from hil.config.fields import ANY_AGE

    try:
        age = None if text is None else parse(text, Dimension.AGE)
        wrong = "" if age is None else ANY_AGE.wrong(age)
    except ValueError as error:
        wrong = str(error)
    if wrong:
        raise UserError(f"--max-age: {wrong}")
    return age


def _moment(text: str | None) -> datetime | None:
    if text is None:
        return None
    try:
        moment = datetime.fromisoformat(text)
    except ValueError:
        moment = None
    if moment is None or moment.tzinfo is None:
        raise UserError(f"--newer-than: {text!r} is not a time with a zone: write e.g. 2026-11-22T10:00:00+00:00")
    return moment


def _show(verified: Verified) -> None:
    out = console()
    style = "bold green" if verified.decision == "PASSED" else "yellow"
    out.print(Text(f"{verified.gate}: {verified.decision}", style=style))
    where = ", ".join(filter(None, (verified.used, verified.board, verified.jetpack and f"JetPack {verified.jetpack}")))
    scope = "judged again, as signed" if verified.report else "not available: only the signature was checked"
    lines = {
        "signed by": verified.key,
        "run": f"{verified.run}, finished {verified.finished or 'at an unknown time'}, on {where}",
        "commit": (verified.commit or "unknown") + DIRTY[verified.dirty],
        "report.json": f"{verified.report_digest} ({scope})",
    }
    table = Table(box=None, show_header=False, pad_edge=False, padding=(0, 2, 0, 0))
    for name, value in lines.items():
        table.add_row(name, Text(value))
    for subject in verified.subjects:
        table.add_row(subject.role, Text(f"{subject.sha256}  {subject.name}"))
    out.print(table)


def _as_json(verified: Verified) -> dict[str, Any]:
    plain = ("gate", "policy", "decision", "key", "run", "finished", "target", "used", "board", "module", "jetpack")
    return {
        **{name: getattr(verified, name) for name in plain},
        "commit": verified.commit,
        "dirty": {"yes": True, "no": False}.get(verified.dirty),
        "report": {"sha256": verified.report_digest, "judged_again": verified.report is not None},
        "subjects": [
            {
                "role": s.role,
                "name": s.name,
                "sha256": s.sha256,
                "model": s.model,
                "precision": s.precision,
                "identity": s.identity,
            }
            for s in verified.subjects
        ],
    }
