"""Lists the releases on a robot, and first completes an interrupted deployment."""

from __future__ import annotations

from typing import TYPE_CHECKING

from hil.deploy.robot import Robot
from hil.deploy.robot_agent import deploy_spec, robot_agent

if TYPE_CHECKING:
    from hil.config.load import Config
    from hil.deploy.robot import Listing, Notify


def list_releases(config: Config, robot: str, notify: Notify) -> Listing:
    """Return the robot's releases, after completing an interrupted deployment, if there is one.

    Raises ``LabError`` if the robot cannot be reached.
    """
    with robot_agent(config, robot, hold=False) as agent:
        there = Robot(robot, deploy_spec(config, robot), agent, notify)
        listing = there.listing()
        if listing.operation is None or listing.busy:
            return listing
        there.open()
        return there.listing()
