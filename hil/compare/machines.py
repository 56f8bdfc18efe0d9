"""Name the machine of a run as comparisons show it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from hil import baseline

if TYPE_CHECKING:
    from collections.abc import Mapping

    from hil.history import RunRecord

UNKNOWN_MACHINE = "machine unknown"


def machine_name(run: RunRecord, environment: Mapping[str, Any]) -> str:
    """Return the name of the run's machine: a board's serial number, or the target with host name, GPU and CPU."""
    known = baseline.machine(run.serial, environment)
    return known if run.serial else f"{run.used} ({known or UNKNOWN_MACHINE})"
