"""Find readings that were available at first and then lost: a lost reading never counts as "no event"."""

from __future__ import annotations

from collections.abc import Mapping
from itertools import pairwise
from typing import TYPE_CHECKING, Any

from hil.state.state_types import Finding, State, number

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

WATCHED = {"throttle": "", "over_current": "over-current counter "}
"""The kinds of readings that are checked part by part. The value is the prefix of a part's name in messages."""


def lost(states: Sequence[State], windows: Sequence[Mapping[str, Any]]) -> Iterator[Finding]:
    """Yield a finding for each alert or counter that could be read and then was lost.

    It is lost if the next of ``states`` lacks it, or if its column in a window is missing or ends without a value.
    """
    for kind, word in WATCHED.items():
        tables: list[Mapping[str, float]] = [getattr(state, kind) for state in states]
        for (earlier, later), state in zip(pairwise(tables), states[1:], strict=True):
            for name in sorted(set(earlier) - set(later)):
                why = state.why_not(f"{kind}.{name}")
                yield Finding(kind, "outside", f"{word}{name} could no longer be read{why}")
        sampled = {name for window in windows for name in window if str(name).startswith(f"{kind}.")}
        known = sampled | {f"{kind}.{name}" for table in tables for name in table}
        for window in windows:
            for name in sorted(known):
                if _ended(window, name, sampled):
                    text = f"{word}{name.partition('.')[2]} could not be read throughout a timed window"
                    yield Finding(kind, "outside", text)


def _ended(window: Mapping[str, Any], name: str, sampled: set[str]) -> bool:
    column = window.get(name)
    if isinstance(column, (list, tuple)):
        return bool(column) and number(column[-1]) is None
    reasons = window.get("not_readable")
    return name in sampled or (isinstance(reasons, Mapping) and name in reasons)


def state_readings(window: Mapping[str, Any]) -> Mapping[str, Any]:
    """Return the readings ``before`` and ``after`` a timed window; empty if it has no readings."""
    readings = window.get("state")
    return readings if isinstance(readings, Mapping) else {}


def silent(windows: Sequence[Mapping[str, Any]]) -> Iterator[Finding]:
    """Yield a finding if some windows have readings of the state and others do not."""
    have = [[bool(state_readings(window).get(key)) for key in ("before", "after")] for window in windows]
    if any(any(pair) for pair in have) and not all(all(pair) for pair in have):
        text = "the state around one timed window could not be read, although it could around others"
        yield Finding("state", "outside", text)
