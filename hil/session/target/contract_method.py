"""Derive from a target's keys the part of the state contract that a method records, and the co-runner's command."""

from __future__ import annotations

import shlex
from typing import TYPE_CHECKING, Any

from hil.errors import UserError

if TYPE_CHECKING:
    from hil.config.spec import TargetSpec


def method(spec: TargetSpec, *, timed: bool = True) -> dict[str, Any]:
    """Return those keys of the target's state contract that change what is measured, with their values.

    Keys that the config does not set are left out. If ``timed`` is false, keys that change only times are left out too.
    """
    keys: dict[str, Any] = {}
    if spec.reserve_memory:
        keys["reserve_memory"] = int(spec.reserve_memory)
    if spec.stop_services:
        keys["stop_services"] = sorted(set(spec.stop_services))
    if timed and spec.start_below is not None:
        keys["start_below"] = spec.start_below
    if timed and spec.co_runner is not None:
        keys["co_runner"] = spec.co_runner
    if timed and spec.clocks != "as-deployed":
        keys["clocks"] = spec.clocks
    return keys


def co_runner_command(name: str, spec: TargetSpec) -> list[str]:
    """Return the co-runner's command as a list of words, empty if none is declared.

    Raises ``UserError`` if the command is invalid.
    """
    if spec.co_runner is None:
        return []
    try:
        command = shlex.split(spec.co_runner)
    except ValueError as error:
        raise UserError(f"co_runner is not a command ({error}): on target {name!r}: correct [targets.{name}]") from None
    if "\0" in spec.co_runner:
        raise UserError(f"co_runner contains a null byte: on target {name!r}: correct [targets.{name}]")
    if not command or not command[0]:
        raise UserError(f"co_runner is empty: on target {name!r}: write a command, or remove it from [targets.{name}]")
    return command
