"""``hil rollback robot-7``: return a robot to its previous release."""

from __future__ import annotations

from pathlib import Path  # noqa: TC003 - typer reads the annotations
from typing import Annotated

import typer

from hil.cli.views.configs import config_at
from hil.cli.views.robots import Steps, print_outcome


def command(
    robot: Annotated[str, typer.Argument(metavar="ROBOT", help="A target of hil.toml, by its name.")],
    to: Annotated[
        str | None,
        typer.Option(
            "--to", metavar="RELEASE", help="Return to another release, given by the beginning of its digest."
        ),
    ] = None,
    config: Annotated[
        Path | None, typer.Option("--config", metavar="FILE", help="The config; default: the nearest hil.toml.")
    ] = None,
) -> int:
    """Return a robot to the last healthy release before the current one.

    Refuses (exit code 1) a release that is damaged, lacks a signature by one of the robot's keys, or was judged on
    another kind of board or runtime. The age of its report does not matter.

    If the restarted service does not become healthy, the robot keeps the release that it had.

    [bold]Examples[/bold]

      hil rollback robot-7

      hil rollback robot-7 --to 3fa2b1
    """
    from hil.deploy.deploying import roll_back

    steps = Steps()
    return print_outcome(roll_back(config_at(config), robot, to, steps.print_step), steps, "back")
