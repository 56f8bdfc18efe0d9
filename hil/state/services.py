"""Rules about services that had to be stopped: their systemd state before and after each timed window."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from hil.state.state_types import Finding

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

STOPPED = ("inactive", "failed")
"""The values of ``ActiveState`` for a unit without processes."""


def services(windows: Sequence[Mapping[str, Any]]) -> Iterator[Finding]:
    """Yield a finding for each service that ran before or after a window although it had to be stopped.

    A service whose state is unknown is a finding too.
    """
    for window in windows:
        readings = window.get("state")
        for key in ("before", "after"):
            reading = readings.get(key) if isinstance(readings, Mapping) else None
            known = reading.get("services") if isinstance(reading, Mapping) else None
            for name, state in sorted(known.items()) if isinstance(known, Mapping) else ():
                if not isinstance(state, str):
                    yield Finding("load", "outside", f"it cannot be confirmed that service {name} was stopped")
                elif state not in STOPPED:
                    yield Finding("load", "outside", f"service {name}, which had to be stopped, was {state}")
