"""Read the power modes of a board from nvpmodel's configuration or from the agent's raw facts."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from hil.agent.jetson import nvpmodel

if TYPE_CHECKING:
    from collections.abc import Mapping


@dataclass(frozen=True)
class PowerMode:
    """One power mode of a board.

    Once the GPU was used, a change between modes with different masks requires a reboot.

    Attributes:
        number: its number on this board; another board may have another number for the same name.
        name: its name.
        tpc_mask: which clusters of the GPU are turned off; ``None`` if the mode does not set it.
        default: whether it is the board's default.
    """

    number: int
    name: str
    tpc_mask: int | None
    default: bool


def power_modes(source: str | Mapping[str, Any]) -> list[PowerMode]:
    """Return the modes in the text of an ``nvpmodel.conf`` or in the agent's raw facts, without malformed ones."""
    if isinstance(source, str):
        modes, default = nvpmodel.parse(source)
        return [_mode(mode, default) for mode in modes]
    modes_read = source.get("power_modes")
    return [
        _mode(mode, source.get("default_power_mode"))
        for mode in (modes_read if isinstance(modes_read, list) else ())
        if _is_complete(mode)
    ]


def _is_complete(mode: Any) -> bool:
    return isinstance(mode, dict) and type(mode.get("id")) is int and isinstance(mode.get("name"), str)


def _mode(mode: Mapping[str, Any], default: Any) -> PowerMode:
    mask = mode.get("tpc_mask")
    return PowerMode(mode["id"], mode["name"], mask if type(mask) is int else None, mode["name"] == default)
