"""``hil rollback robot-7``: back to the release before."""

from __future__ import annotations

from pathlib import Path  # noqa: TC003 - typer reads the annotations
from typing import Annotated

import typer

from hil.cli.views.configs import config_at
from hil.cli.views.robots import Steps, ended


def command(
    robot: Annotated[str, typer.Argument(metavar="ROBOT", help="A target of hil.toml, by its name.")],
    to: Annotated[
        str | None, typer.Option("--to", metavar="RELEASE", help="The beginning of a release's digest instead.")
    ] = None,
    config: Annotated[
        Path | None, typer.Option("--config", metavar="FILE", help="hil.toml; the nearest one if not given.")
    ] = None,
) -> int:
    """Put a robot back to the healthy release before the one that runs.

    Refuses (1) a release that was judged on another board or under another runtime than the robot has now, that lacks a
    signature which the robot's keys ask for, or that is damaged; its age does not matter.

    The robot is made safe, the release's files are hashed again, the switch is one rename, the service is restarted
    and has to get healthy; else it goes on with the release that it had.

    [bold]Examples[/bold]

      hil rollback robot-7

      hil rollback robot-7 --to 3fa2b1
    """
    from hil.deploy.deploying import roll_back

    steps = Steps()
    return ended(roll_back(config_at(config), robot, to, steps.tell), steps, "back")
