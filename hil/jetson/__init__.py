"""NVIDIA's Jetson modules and JetPack releases, and which of them a machine is by its own raw facts.

Tables and pure functions; ``hil.agent.jetson.board_facts`` reads what a board states. No row was checked on a real
board: each names its source.
"""

from hil.jetson.identify import Identity, identify
from hil.jetson.identity_record import said, versions
from hil.jetson.jetpack_releases import RELEASES, Release, release_of
from hil.jetson.modes import PowerMode, power_modes
from hil.jetson.modules import MODULES, SMS, Module, meant, module_of

__all__ = [
    "MODULES",
    "RELEASES",
    "SMS",
    "Identity",
    "Module",
    "PowerMode",
    "Release",
    "identify",
    "meant",
    "module_of",
    "power_modes",
    "release_of",
    "said",
    "versions",
]
