"""Check that a board is in the declared power mode, and name the command that sets it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from hil.errors import LabError, UserError, nearest
from hil.jetson.modes import PowerMode, power_modes

if TYPE_CHECKING:
    from collections.abc import Mapping

    from hil.state import State


def check(name: str, declared: str, state: State, facts: Mapping[str, Any]) -> None:
    """Raise ``LabError`` if the ``state`` of target ``name`` is not in the power mode ``declared``, or has no mode.

    Raise ``UserError`` if the board, by the ``facts`` that the probe read, has no mode ``declared``.
    """
    board = facts.get("board")
    modes = {mode.name: mode for mode in power_modes(board if isinstance(board, dict) else {})}
    where = f"on target {name!r}"
    if modes and declared not in modes:
        close = nearest(declared, modes)
        meant = f" (did you mean {close!r}?)" if close else ""
        what = f"power_mode is {declared!r}, which the board does not have{meant}"
        raise UserError(f"{what}: {where}: write one of {', '.join(modes)} in [targets.{name}]")
    current = state.power_mode
    if current is None:
        what = f"power mode {declared} cannot be confirmed{state.why_not('power_mode')}"
        raise LabError(f"{what}: {where}: check that `nvpmodel -q` answers there")
    if current != declared:
        raise LabError(f"the power mode is {current}, not {declared}: {where}: {_command(declared, current, modes)}")


def _command(declared: str, current: str, modes: Mapping[str, PowerMode]) -> str:
    """Return the advice to run the command that sets the mode; the command has ``ID`` if the number is unknown."""
    if declared not in modes:
        return f"run `sudo nvpmodel -m ID` there, with the ID that /etc/nvpmodel.conf gives {declared}"
    command = f"run `sudo nvpmodel -m {modes[declared].number}` there"
    if current in modes and modes[current].tpc_mask != modes[declared].tpc_mask:
        return f"{command} and reboot it: the two modes use different parts of the GPU (their TPC masks differ)"
    return command
