"""``hil accept RUN``: accept a run's measurement as the new level of a check. The record cannot be removed."""

from __future__ import annotations

import getpass
import shutil
import subprocess
from datetime import datetime, timezone
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.text import Text

from hil.cli.views.console import console
from hil.cli.views.histories import history_at
from hil.errors import UserError, did_you_mean

if TYPE_CHECKING:
    from collections.abc import Sequence

    from hil.history import Point, RunRecord

Where = Annotated[
    str | None, typer.Option("--history", metavar="URL", help="The history; default: the one in hil.toml.")
]
File = Annotated[
    Path | None, typer.Option("--config", metavar="FILE", help="The config; default: the nearest hil.toml.")
]
Who = Annotated[
    str | None, typer.Option("--who", metavar="NAME", help="Who decides; default: git's user.name, else your login.")
]


def command(  # noqa: PLR0913, PLR0917 - options, given by name
    run: Annotated[
        str, typer.Argument(metavar="RUN", help="The run that measured the level: its id, latest, latest~1, …")
    ],
    check: Annotated[str, typer.Option("--check", metavar="ID", help="The check, e.g. latency.p99.")],
    model: Annotated[str, typer.Option("--model", metavar="M", help="The model.")],
    why: Annotated[str, typer.Option("--why", metavar="REASON", help="Why this level is right; kept in the history.")],
    precision: Annotated[
        str | None,
        typer.Option("--precision", metavar="P", help="The precision, if the model was measured in several."),
    ] = None,
    who: Who = None,
    history: Where = None,
    config: File = None,
) -> None:
    """Accept one check's measurement in a run as the new level on its target, although it is a regression.

    From then on, hil compare and the regression checks report only what is worse than this level as a regression. The
    level applies to this check, model and precision on this target and board, until a newer baseline is measured. hil
    history accepted lists who accepted what, when and why.

    [bold]Examples[/bold]

      hil accept latest --check latency.p99 --model detector --why "larger input, agreed with the planner team"
    """
    from hil.history import Acceptance

    if not why.strip():
        raise UserError("--why is empty: write why this level is right; the reason is kept in the history")
    with history_at(history, config, read_only=False) as database:
        record = database.find(run)
        point = _settled_point(record, database.points([record.id]), check, model, precision)
        acceptance = Acceptance(
            run=record.id,
            check=point.check,
            model=point.model,
            precision=point.precision,
            scenario=point.scenario,
            target=record.target,
            serial=record.serial,
            value=point.value,
            unit=point.unit,
            who=decider(who),
            why=why.strip(),
            when=datetime.now(timezone.utc),
        )
        database.accept(acceptance)
    console().print(Text(f"accepted: {acceptance_line(acceptance)}"))


def acceptance_line(acceptance: object) -> str:
    """Return an ``Acceptance`` as one line: row, level, target, run, person, time and reason."""
    from hil.history import Acceptance
    from hil.report.shown_text import one_line
    from hil.units import show

    assert isinstance(acceptance, Acceptance)  # noqa: S101 - for type checkers; importing it above would import numpy
    row = " ".join(filter(None, (acceptance.check, acceptance.model, acceptance.precision, acceptance.scenario)))
    place = acceptance.target + (f" (serial {acceptance.serial})" if acceptance.serial else "")
    level = f"{row} at {show(acceptance.value, acceptance.unit)} on {place}, as in run {acceptance.run}"
    return one_line(f"{level}; by {acceptance.who} on {acceptance.when:%Y-%m-%d %H:%M}: {acceptance.why}", 500)


def decider(who: str | None) -> str:
    """Return who decides: ``who``, else git's ``user.name``, else the login name.

    Raise ``UserError`` if ``who`` is blank or no name can be determined.
    """
    if who is not None and who.strip():
        return who.strip()
    if who is not None:
        raise UserError("--who is empty: write a name")
    git = shutil.which("git")
    if git is not None:
        done = subprocess.run([git, "config", "user.name"], capture_output=True, text=True, check=False)  # noqa: S603 - a fixed command
        if done.stdout.strip():
            return done.stdout.strip()
    try:
        return getpass.getuser()
    except (OSError, KeyError, ImportError):  # no such user in a container
        raise UserError("git has no user.name and the login has no name: state who decides with --who NAME") from None


def _settled_point(run: RunRecord, points: Sequence[Point], check: str, model: str, precision: str | None) -> Point:
    """Return the measurement of ``check``, ``model`` and ``precision`` in ``points``, the measurements of ``run``.

    Raise ``UserError`` unless there is exactly one, it is conclusive, and the run is usable.
    """
    from hil.catalogue import CATALOGUE
    from hil.results import Verdict

    if not run.usable:
        what = f"fell back to {run.used}" if run.fallback else "did not finish"
        raise UserError(f"run {run.id} {what}: accept a measurement of another run")
    # The id of a regression check, copied from a report, stands for the check that it compares.
    check = CATALOGUE[check].regresses or check if check in CATALOGUE else check
    of_check = [point for point in points if (point.check, point.model) == (check, model)]
    if not of_check:
        models, checks = {point.model for point in points}, {point.check for point in points if point.model == model}
        hint = did_you_mean(check, checks) if checks else did_you_mean(model, models)
        raise UserError(f"run {run.id} did not measure {check} of {model}{hint}: hil history show {run.id} lists all")
    matches = [point for point in of_check if precision in {None, point.precision}]
    if len(matches) > 1 and len({point.precision for point in matches}) == 1:
        scenarios = ", ".join(sorted(point.scenario or "none" for point in matches))
        what = f"{check} of {model} {matches[0].precision}".rstrip()
        raise UserError(f"{what} was measured in several scenarios ({scenarios}): give each a check id, and run again")
    if len(matches) != 1:
        precisions = ", ".join(sorted({point.precision for point in of_check}))
        raise UserError(f"{check} of {model} was measured in {precisions}: name one with --precision")
    if matches[0].verdict == Verdict.INCONCLUSIVE.value:
        raise UserError(
            f"{check} of {model} was inconclusive in run {run.id}: accept it from a run that measured it conclusively"
        )
    return matches[0]
