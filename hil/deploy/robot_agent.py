"""A robot's deployment settings, and an agent on the robot."""

from __future__ import annotations

import getpass
import os
import uuid
from contextlib import contextmanager
from typing import TYPE_CHECKING

from hil.errors import LabError, TargetUnreachable, UserError
from hil.targets.target import open_target

if TYPE_CHECKING:
    from collections.abc import Iterator

    from hil.config.load import Config
    from hil.config.spec import DeploySpec
    from hil.targets.client import AgentClient


def deploy_spec(config: Config, name: str) -> DeploySpec:
    """Return ``[targets.NAME.deploy]``. Raises ``UserError`` if it is missing."""
    spec = config.target(name).deploy
    if spec is None:
        where = config.where("targets", name)
        raise UserError(f"{where}: {name} has no deployment settings: add [targets.{name}.deploy], see deploy.md")
    return spec


@contextmanager
def robot_agent(config: Config, robot: str, *, hold: bool = True) -> Iterator[AgentClient]:
    """Yield a started agent on the robot. With ``hold``, no measurement can use the robot meanwhile.

    Raises ``LabError`` if the robot cannot be reached or is held by another run.
    """
    spec = config.target(robot)
    deploy_spec(config, robot)
    with open_target(robot, spec) as target:
        try:
            agent = target.start_agent()
        except TargetUnreachable as error:
            raise LabError(str(error)) from None
        with agent:
            if hold:
                agent.hold(uuid.uuid4().hex, f"{getpass.getuser()} (hil deploy, pid {os.getpid()})")
            yield agent
