"""``hil board``: install and remove the root helper, and measure how noisy a board's timings are."""

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
    help="""Prepare a board: install the helper for tasks that need root, and measure how noisy its timings are.

    [bold]Examples[/bold]

      hil board setup jetson-orin --dry-run

      hil board remove jetson-orin

      hil board calibrate jetson-orin --model detector
    """
)

TargetName = Annotated[str, typer.Argument(metavar="TARGET", help="A target of hil.toml, by its name.")]
ConfigFile = Annotated[
    Path | None, typer.Option("--config", metavar="FILE", help="The config; default: the nearest hil.toml.")
]
Yes = Annotated[bool, typer.Option("--yes", help="Do not ask before the board is changed.")]


@group.command()
def setup(
    target: TargetName,
    service: Annotated[
        list[str] | None,
        typer.Option("--service", metavar="NAME", help="A service that sessions may stop and restart (repeatable)."),
    ] = None,
    yes: Yes = False,  # noqa: FBT002 - an option, given by name
    dry_run: Annotated[  # noqa: FBT002 - an option, given by name
        bool, typer.Option("--dry-run", help="Print what would be installed and change nothing.")
    ] = False,
    config: ConfigFile = None,
) -> None:
    """Install the root helper: a program with a fixed set of commands, and a sudoers rule for this user to start it.

    Without it, clocks cannot be locked, services cannot be stopped, and facts that only root can read are unknown. You
    are asked before anything changes, and for sudo's password; it is passed only to sudo on the board.

    [bold]Examples[/bold]

      hil board setup jetson-orin --dry-run

      hil board setup jetson-orin --service perception
    """
    from hil.board import install

    with closing(_target(target, config)) as opened:
        plan = install.plan(opened, service or ())
        if dry_run:
            _print_lines([f"would be installed on {target}:", *plan.describe()])
            return
        if not yes:
            _print_lines([f"to be installed on {target}:", *plan.describe()])
            _agree(target)
        _print_lines(install.install(opened, plan, _ask_password))


@group.command()
def remove(
    target: TargetName,
    yes: Yes = False,  # noqa: FBT002 - an option, given by name
    config: ConfigFile = None,
) -> None:
    """Restore what the root helper changed, then remove the helper.

    [bold]Examples[/bold]

      hil board remove jetson-orin
    """
    from hil.board import install

    with closing(_target(target, config)) as opened:
        if not yes:
            _agree(target)
        _print_lines(install.remove(opened, _ask_password))


@group.command()
def calibrate(
    target: TargetName,
    model: Annotated[
        list[str] | None, typer.Option("--model", metavar="M", help="Only this model (repeatable); default: all.")
    ] = None,
    comparisons: Annotated[
        int,
        typer.Option(
            "--comparisons",
            metavar="N",
            min=20,
            help="How many pairs of sessions to compare; each session has five runs.",
        ),
    ] = 20,
    history: Annotated[
        str | None,
        typer.Option(
            "--history", metavar="URL", help="The history that stores the result; default: the one in hil.toml."
        ),
    ] = None,
    config: ConfigFile = None,
) -> None:
    """Measure how much a board's timings differ from session to session, and store the result in the history.

    Each engine is compared with itself, so every difference is noise of the board. hil compare and the regression
    checks then allow for this noise. Nobody else should use the board meanwhile. An estimate of the time is printed
    after the first session. If the target is a pool, its members are measured one after the other, and the differences
    between them are stored too; hil compare then compares runs of different boards of the pool.

    [bold]Examples[/bold]

      hil board calibrate jetson-orin

      hil board calibrate jetson-orin --model detector --comparisons 30
    """
    from hil.cli.views.calibrated import calibrate as run_calibration

    run_calibration(target, model or (), comparisons, history, config)


def _target(name: str, config: Path | None) -> Target:
    from hil.targets.target import open_target

    return open_target(name, config_at(config).target(name))


def _agree(target: str) -> None:
    """Ask whether the board may be changed. Raise ``UserError`` if the answer is no or stdin is not a terminal."""
    if not sys.stdin.isatty():
        raise UserError(
            f"stdin is not a terminal, so nobody can agree to change root's files: on target {target!r}: pass --yes"
        )
    if not typer.confirm(f"change root's files on {target}?"):
        raise UserError(f"nothing was changed: on target {target!r}: answer y, or pass --yes, to go on")


def _ask_password(prompt: str) -> str:
    """Return the password typed at the terminal, without echo. Raise ``UserError`` if stdin is not a terminal."""
    if not sys.stdin.isatty():
        raise UserError(
            "sudo on the board asks for a password, but stdin is not a terminal: run this in a terminal, "
            "or as root on the board"
        )
    return getpass.getpass(prompt)


def _print_lines(lines: list[str]) -> None:
    for line in lines:
        typer.echo(line)
