"""``hil accept RUN``: what a run measured is the new level, by whom and why; recorded, never taken back."""

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

Where = Annotated[str | None, typer.Option("--history", metavar="URL", help="The history; else that of hil.toml.")]
File = Annotated[Path | None, typer.Option("--config", metavar="FILE", help="The config; else the nearest hil.toml.")]
Who = Annotated[str | None, typer.Option("--who", metavar="NAME", help="Who decides; else git's user.name or yours.")]


def command(  # noqa: PLR0913, PLR0917 - options, given by name
    run: Annotated[str, typer.Argument(metavar="RUN", help="A run's id, latest, latest~1, …: what it measured.")],
    check: Annotated[str, typer.Option("--check", metavar="ID", help="The check, e.g. latency.p99.")],
    model: Annotated[str, typer.Option("--model", metavar="M", help="The model.")],
    why: Annotated[str, typer.Option("--why", metavar="REASON", help="Why this level is right; stays on record.")],
    precision: Annotated[
        str | None, typer.Option("--precision", metavar="P", help="The precision, where there are several.")
    ] = None,
    who: Who = None,
    history: Where = None,
    config: File = None,
) -> None:
    """Accept what one check measured in a run as the new level on its target, in spite of a regression.

    From then on hil compare and the regression checks call that level accepted and anything worse a regression. It
    holds for this row on this target and board alone, until a baseline is measured after it. The history keeps who
    did it, when and why: hil history accepted lists that.

    [bold]Examples[/bold]

      hil accept latest --check latency.p99 --model detector --why "larger input, agreed with the planner team"
    """
    from hil.history import Acceptance

    if not why.strip():
        raise UserError("--why: is empty: say why this level is right, it stays on record")
    with history_at(history, config, read_only=False) as kept:
        found = kept.find(run)
        point = _row(found, kept.points([found.id]), check, model, precision)
        act = Acceptance(
            run=found.id,
            check=point.check,
            model=point.model,
            precision=point.precision,
            scenario=point.scenario,
            target=found.target,
            serial=found.serial,
            value=point.value,
            unit=point.unit,
            who=by(who),
            why=why.strip(),
            when=datetime.now(timezone.utc),
        )
        kept.accept(act)
    console().print(Text(f"accepted: {told(act)}"))


def told(act: object) -> str:
    """An acceptance in one line."""
    from hil.history import Acceptance
    from hil.report.shown_text import one_line
    from hil.units import show

    assert isinstance(act, Acceptance)  # noqa: S101 - for type checkers; importing it above would bring numpy
    row = " ".join(filter(None, (act.check, act.model, act.precision, act.scenario)))
    place = act.target + (f" (serial {act.serial})" if act.serial else "")
    level = f"{row} at {show(act.value, act.unit)} on {place}, as in run {act.run}"
    return one_line(f"{level}; by {act.who} on {act.when:%Y-%m-%d %H:%M}: {act.why}", 500)


def by(who: str | None) -> str:
    """Who decides: as given, else git's ``user.name``, else the user of this machine. Raises ``UserError``."""
    if who is not None and who.strip():
        return who.strip()
    if who is not None:
        raise UserError("--who: is empty: write a name")
    git = shutil.which("git")
    if git is not None:
        done = subprocess.run([git, "config", "user.name"], capture_output=True, text=True, check=False)  # noqa: S603 - a fixed command
        if done.stdout.strip():
            return done.stdout.strip()
    try:
        return getpass.getuser()
    except (OSError, KeyError, ImportError):  # no such user in a container
        raise UserError("nobody knows who you are here: say it with --who NAME") from None


def _row(run: RunRecord, points: Sequence[Point], check: str, model: str, precision: str | None) -> Point:
    """The one settled measurement that was meant. Raises ``UserError``."""
    from hil.catalogue import CATALOGUE
    from hil.results import Verdict

    if not run.usable:
        raise UserError(f"run {run.id} was broken off or fell back to {run.used}: nothing in it can be accepted")
    # Whoever copies the regression's own id means what it compares.
    check = CATALOGUE[check].regresses or check if check in CATALOGUE else check
    wanted = [point for point in points if (point.check, point.model) == (check, model)]
    if not wanted:
        models, checks = {point.model for point in points}, {point.check for point in points if point.model == model}
        hint = did_you_mean(check, checks) if checks else did_you_mean(model, models)
        raise UserError(f"run {run.id} measured no {check} of {model}{hint}: hil history show {run.id} lists it all")
    found = [point for point in wanted if precision in {None, point.precision}]
    if len(found) != 1:
        there = ", ".join(sorted({point.precision for point in wanted}))
        raise UserError(f"{check} of {model} was measured in {there}: name one with --precision")
    if found[0].verdict == Verdict.INCONCLUSIVE.value:
        raise UserError(f"{check} of {model} was inconclusive in run {run.id}: nothing that is not settled is accepted")
    return found[0]
