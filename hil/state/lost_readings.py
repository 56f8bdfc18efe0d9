"""What could be read at first and no longer could: it is never taken for what has not happened."""

from __future__ import annotations

from collections.abc import Mapping
from itertools import pairwise
from typing import TYPE_CHECKING, Any

from hil.state.state_types import Finding, State, number

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

WATCHED = {"throttle": "", "over_current": "over-current counter "}
"""Kinds of which each part counts, by the word before the part's name."""


def lost(states: Sequence[State], windows: Sequence[Mapping[str, Any]]) -> Iterator[Finding]:
    """Alerts and counters that a reading had and the next one has not, or whose samples in a window end early."""
    for kind, word in WATCHED.items():
        tables: list[Mapping[str, float]] = [getattr(state, kind) for state in states]
        for (one, other), state in zip(pairwise(tables), states[1:], strict=True):
            for name in sorted(set(one) - set(other)):
                why = state.why_not(f"{kind}.{name}")
                yield Finding(kind, "outside", f"{word}{name} could not be read to the end{why}")
        sampled = {name for window in windows for name in window if str(name).startswith(f"{kind}.")}
        known = sampled | {f"{kind}.{name}" for table in tables for name in table}
        for window in windows:
            for name in sorted(known):
                if _ended(window, name, sampled):
                    text = f"{word}{name.partition('.')[2]} could not be read all through a timed window"
                    yield Finding(kind, "outside", text)


def _ended(window: Mapping[str, Any], name: str, sampled: set[str]) -> bool:
    column = window.get(name)
    if isinstance(column, (list, tuple)):
        return bool(column) and number(column[-1]) is None
    reasons = window.get("not_readable")
    return name in sampled or (isinstance(reasons, Mapping) and name in reasons)


def told(window: Mapping[str, Any]) -> Mapping[str, Any]:
    """The readings around a timed window; empty where it has none."""
    found = window.get("state")
    return found if isinstance(found, Mapping) else {}


def silent(windows: Sequence[Mapping[str, Any]]) -> Iterator[Finding]:
    """A window without readings of the state where others have them."""
    have = [[bool(told(window).get(key)) for key in ("before", "after")] for window in windows]
    if any(any(one) for one in have) and not all(all(one) for one in have):
        yield Finding(
            "state", "outside", "the state around a timed window could not be read, as around others it could"
        )
