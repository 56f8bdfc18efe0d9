"""``hil board``: the root helper, put there and taken away on request; and how noisy a board is, learned."""

from __future__ import annotations

import getpass
import sys
from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from hil.cli.views.configs import config_at
from hil.errors import UserError

if TYPE_CHECKING:
    from hil.targets.target import Target

group = typer.Typer(
    help="""Prepare a board: the small helper that does what needs root, and how noisy its timings are.

    [bold]Examples[/bold]

      hil board setup jetson-orin --dry-run

      hil board remove jetson-orin

      hil board calibrate jetson-orin --model detector
    """
)

TargetName = Annotated[str, typer.Argument(metavar="TARGET", help="A target of hil.toml, by its name.")]
ConfigFile = Annotated[
    Path | None, typer.Option("--config", metavar="FILE", help="hil.toml; the nearest one if not given.")
]


@group.command()
def setup(
    target: TargetName,
    service: Annotated[
        list[str] | None, typer.Option("--service", metavar="NAME", help="One that sessions may stop and restart.")
    ] = None,
    dry_run: Annotated[  # noqa: FBT002 - an option, given by name
        bool, typer.Option("--dry-run", help="Print what would be installed, and change nothing.")
    ] = False,
    config: ConfigFile = None,
) -> None:
    """Install the root helper: a program with fixed verbs, and one line for sudo that lets this user start it.

    Without it clocks are not locked, services not stopped, and what root alone may read is told as not readable.
    Root is needed once: sudo's password is asked for here and goes to sudo on the board alone.

    [bold]Examples[/bold]

      hil board setup jetson-orin --dry-run

      hil board setup jetson-orin --service perception
    """
    from hil.board import install

    with closing(_target(target, config)) as opened:
        plan = install.planned(opened, service or ())
        if dry_run:
            _say([f"would be installed on {target}:", *plan.describe()])
            return
        _say(install.install(opened, plan, _password))


@group.command()
def remove(target: TargetName, config: ConfigFile = None) -> None:
    """Take the root helper away, and what is still changed back first.

    [bold]Examples[/bold]

      hil board remove jetson-orin
    """
    from hil.board import install

    with closing(_target(target, config)) as opened:
        _say(install.remove(opened, _password))


@group.command()
def calibrate(
    target: TargetName,
    model: Annotated[
        list[str] | None, typer.Option("--model", metavar="M", help="This model alone (repeatable); else all.")
    ] = None,
    comparisons: Annotated[
        int, typer.Option("--comparisons", metavar="N", min=20, help="Pairs of sessions, five runs in each.")
    ] = 20,
    history: Annotated[
        str | None, typer.Option("--history", metavar="URL", help="Where it is kept; else the history of hil.toml.")
    ] = None,
    config: ConfigFile = None,
) -> None:
    """Learn how much a board's timings differ from session to session, and keep it in the history.

    Each engine is timed against itself, again and again: whatever differs is the board's own noise. hil compare and
    the regression checks then allow for it, say what they could have seen, and how many runs it takes to see more. It
    takes long (the first session tells how long), and the board should be used by nobody else.

    [bold]Examples[/bold]

      hil board calibrate jetson-orin

      hil board calibrate jetson-orin --model detector --comparisons 30
    """
    from hil.cli.views.calibrated import calibrated

    calibrated(target, model or (), comparisons, history, config)


def _target(name: str, config: Path | None) -> Target:
    from hil.targets.target import open_target

    return open_target(name, config_at(config).target(name))


def _password(prompt: str) -> str:
    """From the terminal, unseen. Raises ``UserError`` where there is none: it is taken from nowhere else."""
    if not sys.stdin.isatty():
        raise UserError("sudo wants a password there, and this is no terminal: run it at one, or as root on the board")
    return getpass.getpass(prompt)


def _say(lines: list[str]) -> None:
    for line in lines:
        typer.echo(line)
