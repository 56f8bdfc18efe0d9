"""Power modes of a board, from nvpmodel's own configuration or from what the agent read of it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from hil.agent.jetson import nvpmodel

if TYPE_CHECKING:
    from collections.abc import Mapping


@dataclass(frozen=True)
class PowerMode:
    """One mode: its number there (never portable), its name, and the mask of GPU clusters it turns off, if it sets one.

    Between modes of unequal masks a board has to be started anew once its GPU was used.
    """

    number: int
    name: str
    tpc_mask: int | None
    default: bool


def power_modes(source: str | Mapping[str, Any]) -> list[PowerMode]:
    """The modes of the text of an ``nvpmodel.conf``, or of the agent's raw facts; what is malformed is left out."""
    if isinstance(source, str):
        modes, default = nvpmodel.parse(source)
        return [_mode(mode, default) for mode in modes]
    told = source.get("power_modes")
    return [
        _mode(mode, source.get("default_power_mode"))
        for mode in (told if isinstance(told, list) else ())
        if _whole(mode)
    ]


def _whole(mode: Any) -> bool:
    return isinstance(mode, dict) and type(mode.get("id")) is int and isinstance(mode.get("name"), str)


def _mode(mode: Mapping[str, Any], default: Any) -> PowerMode:
    mask = mode.get("tpc_mask")
    return PowerMode(mode["id"], mode["name"], mask if type(mask) is int else None, mode["name"] == default)
