"""List NVIDIA's Jetson modules and JetPack releases, and identify a machine from its raw facts.

No row of the tables was verified on a real board; each row names its source.
"""

from hil.jetson.identify import Identity, identify
from hil.jetson.identity_record import identity_fields, versions
from hil.jetson.jetpack_releases import RELEASES, Release, release_of
from hil.jetson.modes import PowerMode, power_modes
from hil.jetson.modules import MODULES, SMS, Module, likely_slugs, module_of

__all__ = [
    "MODULES",
    "RELEASES",
    "SMS",
    "Identity",
    "Module",
    "PowerMode",
    "Release",
    "identify",
    "identity_fields",
    "likely_slugs",
    "module_of",
    "power_modes",
    "release_of",
    "versions",
]
