"""``hil verify report --key hil.pub``: who signed, what was decided, of which files."""

from __future__ import annotations

import json
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.table import Table
from rich.text import Text

from hil.cli.hexadecimal import whole
from hil.cli.views.console import console
from hil.errors import UserError
from hil.units import Dimension, parse

if TYPE_CHECKING:
    from hil.attestation import Role, Verified

Files = list[Path] | None
DIRTY = {
    "yes": " (the run used files that are not its)",
    "no": "",
    "": " (whether the run used anything else is unknown)",
}


def command(  # noqa: PLR0913 - each is an option of its own
    bundle: Annotated[
        Path, typer.Argument(metavar="BUNDLE", help="report.sigstore.json, or the report's folder.")
    ] = Path("report"),
    *,
    key: Annotated[
        Files, typer.Option("--key", metavar="FILE", help="Public key (PEM) of who may sign; repeatable.")
    ] = None,
    report: Annotated[
        Path | None,
        typer.Option("--report", metavar="FILE", help="The report (default: report.json, if it lies beside)."),
    ] = None,
    engine: Annotated[
        Files, typer.Option("--engine", metavar="FILE", help="Must be an engine that was judged; repeatable.")
    ] = None,
    onnx: Annotated[
        Files, typer.Option("--onnx", metavar="FILE", help="Must be a model that was judged; repeatable.")
    ] = None,
    external_data: Annotated[
        Files,
        typer.Option("--external-data", metavar="FILE", help="Must be external data of such a model; repeatable."),
    ] = None,
    deployed: Annotated[
        Files,
        typer.Option("--deployed", metavar="FILE", help="Must be the ONNX file that replaces a model; repeatable."),
    ] = None,
    plugin: Annotated[
        Files, typer.Option("--plugin", metavar="FILE", help="Must be a plugin of such a model; repeatable.")
    ] = None,
    calibration_cache: Annotated[
        Files, typer.Option("--calibration-cache", metavar="FILE", help="Must be a cache that was used; repeatable.")
    ] = None,
    max_age: Annotated[
        str | None, typer.Option("--max-age", metavar="AGE", help="Refuse a run that ended longer ago: '7 days'.")
    ] = None,
    newer_than: Annotated[
        str | None, typer.Option("--newer-than", metavar="TIME", help="Refuse a run that ended by then (ISO 8601).")
    ] = None,
    commit: Annotated[
        str | None, typer.Option("--commit", metavar="SHA", help="Refuse a report of anything but this commit.")
    ] = None,
    report_digest: Annotated[
        str | None, typer.Option("--report-digest", metavar="SHA256", help="Refuse any other report.json.")
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print what was verified as JSON.")] = False,
) -> None:
    """Verify a signed report; exit code 0 only if the signature holds and the gate passed.

    With report.json at hand it is judged again, and what was signed must be what it gives. Without it the signature and
    what it says are all there is. An older report that was shown again is refused only by what is asked: --max-age,
    --newer-than, --commit or --report-digest. --commit refuses a run that used anything beside that commit, too.

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
    found = verify(
        bundle,
        keys=[public_key(path) for path in key or ()],
        report=report or _beside(bundle),
        files=[(role, path) for role, paths in roles for path in paths or ()],
        fresh=Freshness(_age(max_age), _moment(newer_than), whole(commit, "commit"), whole(report_digest, "digest")),
    )
    if as_json:
        typer.echo(json.dumps(_as_json(found), indent=2, ensure_ascii=False))
    else:
        _show(found)


def _beside(bundle: Path) -> Path | None:
    file = (bundle if bundle.is_dir() else bundle.parent) / "report.json"
    return file if file.exists() else None


def _age(text: str | None) -> float | None:
    try:
        return None if text is None else parse(text, Dimension.AGE)
    except ValueError as error:
        raise UserError(f"--max-age: {error}") from None


def _moment(text: str | None) -> datetime | None:
    if text is None:
        return None
    try:
        found = datetime.fromisoformat(text)
    except ValueError:
        found = None
    if found is None or found.tzinfo is None:
        raise UserError(f"--newer-than: {text!r} is no moment with its zone: write e.g. 2026-11-22T10:00:00+00:00")
    return found


def _show(found: Verified) -> None:
    out = console()
    out.print(Text(f"{found.gate}: {found.decision}", style="bold green" if found.decision == "PASSED" else "yellow"))
    where = ", ".join(filter(None, (found.used, found.board, found.jetpack and f"JetPack {found.jetpack}")))
    again = "judged again: it gives what was signed" if found.report else "not at hand: the signature is all there is"
    lines = {
        "signed by": found.key,
        "run": f"{found.run}, finished {found.finished or 'at no known time'}, on {where}",
        "commit": (found.commit or "unknown") + DIRTY[found.dirty],
        "report.json": f"{found.report_digest} ({again})",
    }
    table = Table(box=None, show_header=False, pad_edge=False, padding=(0, 2, 0, 0))
    for name, value in lines.items():
        table.add_row(name, Text(value))
    for subject in found.subjects:
        table.add_row(subject.role, Text(f"{subject.sha256}  {subject.name}"))
    out.print(table)


def _as_json(found: Verified) -> dict[str, Any]:
    plain = ("gate", "policy", "decision", "key", "run", "finished", "target", "used", "board", "module", "jetpack")
    return {
        **{name: getattr(found, name) for name in plain},
        "commit": found.commit,
        "dirty": {"yes": True, "no": False}.get(found.dirty),
        "report": {"sha256": found.report_digest, "judged_again": found.report is not None},
        "subjects": [
            {
                "role": s.role,
                "name": s.name,
                "sha256": s.sha256,
                "model": s.model,
                "precision": s.precision,
                "identity": s.identity,
            }
            for s in found.subjects
        ],
    }
