"""``hil checks``: the project's own checks that every run must have, listed in a file next to ``hil.toml``."""

from __future__ import annotations

import re
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

File = Annotated[
    Path | None, typer.Option("--config", metavar="FILE", help="The config; default: the nearest hil.toml.")
]


def command(
    write: Annotated[
        Path | None,
        typer.Option("--write", metavar="REPORT", help="Replace the list with your own checks in this report.json."),
    ] = None,
    config: File = None,
) -> None:
    """List your own checks that every run must have, or write that list from a report.

    The list is hil.checks.json next to hil.toml; commit it. A run fails if a listed check has no result, for example
    because its test was renamed. --write keeps the entries of models and precisions that the report's target does not
    run.

    [bold]Examples[/bold]

      pytest --target=orin && hil checks --write report && git add hil.checks.json
    """
    from hil.config import own_checks

    if write is None:
        listed = config_at(config).own_checks
        for check in listed:
            typer.echo(f"{check.name}  {check.test}".rstrip())
        if not listed:
            typer.echo("no own checks are listed: record those of a run with hil checks --write REPORT", err=True)
        return
    loaded = config_at(config, own=False)
    path = own_checks.place(loaded.path)
    try:
        before, _ = own_checks.read(path, loaded.spec)
    except UserError as error:  # the file is rewritten below, as the message advises
        typer.echo(f"{path.name} is replaced: {str(error).splitlines()[0]}")
        before = ()
    checks = _checks(loaded, before, write)
    try:
        path.write_text(own_checks.to_json(checks), encoding="utf-8", newline="\n")
    except OSError as error:
        raise UserError(f"cannot write {path} ({error.strerror}): make it writable, or delete it") from None
    for line in _changes(before, checks):
        typer.echo(line)
    typer.echo(f"{path}: {len(checks)} own checks: commit it")


def _checks(config: Config, before: tuple[OwnCheck, ...], path: Path) -> tuple[OwnCheck, ...]:
    """Return the new list: the own checks of the report ``path``, and those of ``before`` that its target does not run.

    Raise ``UserError`` if the run was incomplete, if a test that still exists gave no result, or if the new list would
    be empty or invalid.
    """
    from hil.config import own_checks
    from hil.gate.gate import open_report

    report = open_report(path)
    _require_whole(report, path, config.path.parent)
    target = report.target.requested
    config.target(target)
    rows = [row for row in report.checks if own_checks.is_own(row.id) and row.cause not in _removed()]
    listed = [
        own_checks.OwnCheck(id=r.id, model=r.model, precision=r.precision, scenario=r.scenario, test=r.test)
        for r in rows
    ]
    elsewhere = [check for check in before if not own_checks.is_of(check, config.spec, target)]
    own_checks.require_valid(listed, config.spec, path.name)
    if not listed and not elsewhere:
        name = own_checks.place(config.path).name
        raise UserError(f"{path} has no own checks: run the tests that use hil_check, or delete {name}")
    return tuple({check.key: check for check in (*elsewhere, *listed)}.values())


def _removed() -> frozenset[object]:
    """Return the causes of results of checks that no test judges any more."""
    from hil.results import Cause

    return frozenset({Cause.NOT_COLLECTED, Cause.NO_RESULT})


def _require_whole(report: Report, path: Path, folder: Path) -> None:
    """Raise ``UserError`` for a run that did not finish, or in which an own test that still exists gave no result.

    ``path`` is the report's path, for messages; ``folder`` is the config's.
    """
    from hil.config.own_checks import is_own
    from hil.results import Cause, Verdict

    partial = (Cause.DESELECTED, Cause.OUT_OF_SCOPE, Cause.CRASHED, Cause.STOPPED)
    own = [row for row in report.checks if is_own(row.id)]
    silent = [row for row in own if row.cause is Cause.NO_RESULT and row.verdict is Verdict.FAILED]
    left_out = [row for row in own if row.cause is Cause.NOT_COLLECTED and _still_exists(row.test, folder)]
    missing = [*(row for row in own if row.cause in partial), *silent, *left_out]
    if report.status != "complete" or report.run.user_error or report.run.lab_error:
        raise UserError(f"{path}: the run did not finish, so checks are missing: run pytest again")
    if missing:
        tests = ", ".join(dict.fromkeys(row.test or row.name for row in missing[:3]))
        more = f" and {len(missing) - 3} more" if len(missing) > 3 else ""
        why = missing[0].cause.value if missing[0].cause else ""
        raise UserError(f"{path}: {tests}{more} gave no result ({why}): run pytest without leaving out tests")


def _still_exists(test: str, folder: Path) -> bool:
    """Return whether the file of a test (a pytest node id relative to ``folder``) still defines a test of that name."""
    file, _, name = test.partition("::")
    function = name.rpartition("::")[2].partition("[")[0]
    try:
        text = (folder / file).read_text(encoding="utf-8", errors="replace")
    except OSError:
        return False
    return re.search(rf"\bdef {re.escape(function)}\b", text) is not None


def _changes(before: tuple[OwnCheck, ...], after: tuple[OwnCheck, ...]) -> Iterator[str]:
    old, new = {check.key: check for check in before}, {check.key: check for check in after}
    yield from (f"- {check.name}" for key, check in sorted(old.items()) if key not in new)
    yield from (f"+ {check.name}" for key, check in sorted(new.items()) if key not in old)
