"""``hil board setup TARGET``, ``hil board remove TARGET``: what needs root on a board, installed once, on request."""

from __future__ import annotations

import getpass
import sys
from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from hil.cli.configs import config_at
from hil.errors import UserError

if TYPE_CHECKING:
    from hil.targets.base import Target

group = typer.Typer(
    help="""Install or take away the small helper that does on a board what needs root.

    [bold]Examples[/bold]

      hil board setup jetson-orin --dry-run

      hil board remove jetson-orin
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
    from hil.board import install  # noqa: PLC0415 - pydantic and the target's libraries are heavy, --help needs neither

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
    from hil.board import install  # noqa: PLC0415 - as above

    with closing(_target(target, config)) as opened:
        _say(install.remove(opened, _password))


def _target(name: str, config: Path | None) -> Target:
    from hil.targets.base import open_target  # noqa: PLC0415 - as above

    return open_target(name, config_at(config).target(name))


def _password(prompt: str) -> str:
    """From the terminal, unseen. Raises ``UserError`` where there is none: it is taken from nowhere else."""
    if not sys.stdin.isatty():
        raise UserError("sudo wants a password there, and this is no terminal: run it at one, or as root on the board")
    return getpass.getpass(prompt)


def _say(lines: list[str]) -> None:
    for line in lines:
        typer.echo(line)
