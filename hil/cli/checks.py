"""``hil checks``: the project's own checks that every run must have, from the file beside ``hil.toml``."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from hil.cli.views.configs import config_at
from hil.errors import UserError

if TYPE_CHECKING:
    from collections.abc import Iterator

    from hil.config.load import Config
    from hil.config.own_checks import OwnCheck
    from hil.report.schema import Report

File = Annotated[Path | None, typer.Option("--config", metavar="FILE", help="The config; else the nearest hil.toml.")]


def command(
    write: Annotated[
        Path | None, typer.Option("--write", metavar="REPORT", help="Write the own checks of this report.json.")
    ] = None,
    config: File = None,
) -> None:
    """List the own checks that every run must have, or write the file that says so from a report.

    A test that uses hil_check is no longer there once it is renamed, or its file is not collected, and no run could
    tell. What stands in hil.checks.json beside hil.toml is planned like the stock checks: without a result it is
    not_run, and the run fails. Commit the file. What the report's target does not run in its precision is kept.

    [bold]Examples[/bold]

      pytest --target=orin && hil checks --write report && git add hil.checks.json
    """
    from hil.config import own_checks

    if write is None:
        for check in config_at(config).own_checks:
            typer.echo(f"{check.name}  {check.test}".rstrip())
        return
    found = config_at(config, own=False)
    place = own_checks.place(found.path)
    try:
        before, _ = own_checks.read(place, found.spec)
    except UserError as error:  # it is written anew, which is what the message asks for
        typer.echo(f"{place.name} is replaced: {str(error).splitlines()[0]}")
        before = ()
    checks = _checks(found, before, write)
    place.write_text(own_checks.to_json(checks), encoding="utf-8", newline="\n")
    for line in _changes(before, checks):
        typer.echo(line)
    typer.echo(f"{place}: {len(checks)} own checks: commit it")


def _checks(config: Config, before: tuple[OwnCheck, ...], path: Path) -> tuple[OwnCheck, ...]:
    """What the report's run judged, and what was listed for other targets. Raises ``UserError``."""
    from hil.config import own_checks
    from hil.gate.gate import open_report

    report = open_report(path)
    _whole(report, path)
    target = report.target.requested
    config.target(target)
    rows = [row for row in report.checks if own_checks.is_own(row.id) and row.cause not in _removed()]
    listed = [
        own_checks.OwnCheck(id=r.id, model=r.model, precision=r.precision, scenario=r.scenario, test=r.test)
        for r in rows
    ]
    elsewhere = [check for check in before if not own_checks.is_of(check, config.spec, target)]
    own_checks.fitting(listed, config.spec, path.name)
    if not listed and not elsewhere:
        name = own_checks.place(config.path).name
        raise UserError(f"{path} has no check of your own: run the tests that use hil_check, or delete {name}")
    return tuple({check.key: check for check in (*elsewhere, *listed)}.values())


def _removed() -> frozenset[object]:
    """Causes of a row that was listed and is no longer there: no test gives it a result."""
    from hil.results import Cause

    return frozenset({Cause.NOT_COLLECTED, Cause.NO_RESULT})


def _whole(report: Report, path: Path) -> None:
    """Raises ``UserError`` for a run that left out tests: their checks would no longer be listed."""
    from hil.config.own_checks import is_own
    from hil.results import Cause, Verdict

    partial = (Cause.DESELECTED, Cause.OUT_OF_SCOPE, Cause.CRASHED, Cause.STOPPED)
    own = [row for row in report.checks if is_own(row.id)]
    silent = [row for row in own if row.cause is Cause.NO_RESULT and row.verdict is Verdict.FAILED]
    left = [*(row for row in own if row.cause in partial), *silent]
    if report.status != "complete" or report.run.user_error or report.run.lab_error:
        raise UserError(f"{path}: the run did not finish, so it does not have all checks: run pytest again")
    if left:
        what = ", ".join(dict.fromkeys(row.test or row.name for row in left[:3]))
        more = f" and {len(left) - 3} more" if len(left) > 3 else ""
        why = left[0].cause.value if left[0].cause else ""
        raise UserError(f"{path}: {what}{more} gave no result ({why}): run pytest without leaving out tests")


def _changes(before: tuple[OwnCheck, ...], after: tuple[OwnCheck, ...]) -> Iterator[str]:
    ours, theirs = {check.key: check for check in before}, {check.key: check for check in after}
    yield from (f"- {check.name}" for key, check in sorted(ours.items()) if key not in theirs)
    yield from (f"+ {check.name}" for key, check in sorted(theirs.items()) if key not in ours)
