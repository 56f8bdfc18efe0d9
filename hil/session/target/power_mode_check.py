"""Is the board in the declared power mode? If not, what sets it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from hil.errors import LabError, UserError, nearest
from hil.jetson.modes import PowerMode, power_modes

if TYPE_CHECKING:
    from collections.abc import Mapping

    from hil.state import State


def check(name: str, wanted: str, state: State, facts: Mapping[str, Any]) -> None:
    """Raises ``LabError`` unless target ``name`` is in mode ``wanted``, ``UserError`` where it has no such mode.

    ``facts`` is what the probe read.
    """
    board = facts.get("board")
    modes = {mode.name: mode for mode in power_modes(board if isinstance(board, dict) else {})}
    where = f"on target {name!r}"
    if modes and wanted not in modes:
        close = nearest(wanted, modes)
        meant = f" (did you mean {close!r}?)" if close else ""
        what = f"power_mode is {wanted!r}, which the board does not have{meant}"
        raise UserError(f"{what}: {where}: write one of {', '.join(modes)} in [targets.{name}]")
    found = state.power_mode
    if found is None:
        what = f"power mode {wanted} cannot be confirmed{state.why_not('power_mode')}"
        raise LabError(f"{what}: {where}: see that `nvpmodel -q` answers there")
    if found != wanted:
        raise LabError(f"the power mode is {found}, not {wanted}: {where}: {_way(wanted, found, modes)}")


def _way(wanted: str, found: str, modes: Mapping[str, PowerMode]) -> str:
    """The command that sets the mode; its number differs between boards, so it is given only where it is known."""
    if wanted not in modes:
        return f"run `sudo nvpmodel -m ID` there, with the ID that /etc/nvpmodel.conf gives {wanted}"
    way = f"run `sudo nvpmodel -m {modes[wanted].number}` there"
    if found in modes and modes[found].tpc_mask != modes[wanted].tpc_mask:
        return f"{way} and reboot it: the two modes use different parts of the GPU (their TPC masks differ)"
    return way
