"""Parse the power modes that a Jetson's ``/etc/nvpmodel.conf`` offers; ``power_mode`` reads which one is set.

Mode ids differ between boards and their "super" variants, so a mode is identified by its name. The format is that of
NVIDIA's ``nvpmodel_p*.conf``.
"""

import re
from typing import Any, Dict, List, Optional, Tuple

CONF = "etc/nvpmodel.conf"
MOST_MODES = 64

_SECTION = re.compile(r"\s*<\s*(\w+)\s+([^<>]*)>")
_MODE = re.compile(r"ID\s*=\s*(\d{1,6})\s+NAME\s*=\s*(\S+)")
_DEFAULT = re.compile(r"DEFAULT\s*=\s*(\d{1,6})")
_MASK = re.compile(r"\s*TPC_POWER_GATING\s+TPC_PG_MASK\s+(0[xX][0-9a-fA-F]{1,8}|\d{1,10})\s*(?:#.*)?$")


def parse(text: str) -> Tuple[List[Dict[str, Any]], Optional[str]]:
    """Return ``[{"id", "name", "tpc_mask"}]`` in the file's order, and the default mode's name; never raise.

    ``tpc_mask`` is None if the mode sets no mask. Modes that share a name or an id are all left out, and so are all
    modes after the first ``MOST_MODES``. The default is None if its mode is not in the list.
    """
    modes: List[Dict[str, Any]] = []
    default = None
    inside = False
    for line in text.splitlines():
        section = _SECTION.match(line)
        if section:
            mode = _MODE.match(section.group(2)) if section.group(1) == "POWER_MODEL" else None
            inside = mode is not None
            if mode is not None:
                modes.append({"id": int(mode.group(1)), "name": mode.group(2), "tpc_mask": None})
            elif section.group(1) == "PM_CONFIG":
                match = _DEFAULT.match(section.group(2))
                default = int(match.group(1)) if match else default
        elif inside:
            mask = _MASK.match(line)
            if mask:
                modes[-1]["tpc_mask"] = int(mask.group(1), 0 if "x" in mask.group(1).lower() else 10)
    modes = _single(modes[:MOST_MODES])
    return modes, name_of(modes, default)


def _single(modes: List[Dict[str, Any]]) -> List[Dict[str, Any]]:
    names, numbers = [mode["name"] for mode in modes], [mode["id"] for mode in modes]
    return [mode for mode in modes if names.count(mode["name"]) == 1 and numbers.count(mode["id"]) == 1]


def name_of(modes: List[Dict[str, Any]], number: Optional[int]) -> Optional[str]:
    """Return the name of the mode with the id ``number``; None if there is no such mode."""
    return next((mode["name"] for mode in modes if mode["id"] == number), None)
