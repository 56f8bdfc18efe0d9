"""What is on a robot; what a killed deployment left there is ended first, so that the answer stays true."""

from __future__ import annotations

from typing import TYPE_CHECKING

from hil.deploy.robot import Robot
from hil.deploy.robot_agent import deploy_spec, reached

if TYPE_CHECKING:
    from hil.config.load import Config
    from hil.deploy.robot import Listing, Tell


def listed(config: Config, robot: str, tell: Tell) -> Listing:
    """The robot's releases. Raises ``LabError`` where it cannot be reached."""
    with reached(config, robot, hold=False) as agent:
        there = Robot(robot, deploy_spec(config, robot), agent, tell)
        found = there.listing()
        if found.operation is None or found.busy:
            return found
        there.open()
        return there.listing()
