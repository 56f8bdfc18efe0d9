"""Services that were to be stopped, as systemd had them before and after each timed window."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from hil.state.state_types import Finding

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

STOPPED = ("inactive", "failed")
"""``ActiveState`` of a unit that no process belongs to."""


def services(windows: Sequence[Mapping[str, Any]]) -> Iterator[Finding]:
    """One that somebody started again loads the board, as one that nobody can tell of may."""
    for window in windows:
        told = window.get("state")
        for key in ("before", "after"):
            reading = told.get(key) if isinstance(told, Mapping) else None
            known = reading.get("services") if isinstance(reading, Mapping) else None
            for name, state in sorted(known.items()) if isinstance(known, Mapping) else ():
                if not isinstance(state, str):
                    yield Finding("load", "outside", f"that service {name} was stopped cannot be confirmed")
                elif state not in STOPPED:
                    yield Finding("load", "outside", f"service {name}, which was stopped for this, was {state}")
