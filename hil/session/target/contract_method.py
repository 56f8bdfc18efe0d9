"""What of the state contract belongs to the method of a measurement, and its co-runner's command."""

from __future__ import annotations

import shlex
from typing import TYPE_CHECKING, Any

from hil.errors import UserError

if TYPE_CHECKING:
    from hil.config.spec import TargetSpec


def method(spec: TargetSpec, *, timed: bool = True) -> dict[str, Any]:
    """What of the state contract makes a number another one: a part of its method. What is not asked for adds nothing.

    ``timed`` is whether the number is a time: a co-runner, locked clocks and heat (``start_below``, °C) change those.
    """
    found: dict[str, Any] = {}
    if spec.reserve_memory:
        found["reserve_memory"] = int(spec.reserve_memory)
    if spec.stop_services:
        found["stop_services"] = sorted(set(spec.stop_services))
    if timed and spec.start_below is not None:
        found["start_below"] = spec.start_below
    if timed and spec.co_runner is not None:
        found["co_runner"] = spec.co_runner
    if timed and spec.clocks != "as-deployed":
        found["clocks"] = spec.clocks
    return found


def co_runner_command(name: str, spec: TargetSpec) -> list[str]:
    """The co-runner's command in words; none without one. Raises ``UserError`` for what is no command."""
    if spec.co_runner is None:
        return []
    try:
        found = shlex.split(spec.co_runner)
    except ValueError as error:
        raise UserError(f"co_runner is no command ({error}): on target {name!r}: correct [targets.{name}]") from None
    if "\0" in spec.co_runner:
        raise UserError(f"co_runner has a NUL in it: on target {name!r}: correct [targets.{name}]")
    if not found or not found[0]:
        raise UserError(f"co_runner is empty: on target {name!r}: write a command, or take it out of [targets.{name}]")
    return found
