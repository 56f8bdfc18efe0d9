"""Compare the machine of the two sides of a row: by the control, by recorded disturbances, and by its clocks.

The control is a fixed workload, timed beside the model: if its time changes, the machine changed.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from hil.baseline import highest_clocks, setting, why_clocks_differ
from hil.stats.control_difference import ControlDifference, control_difference

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from hil.compare.sides import Facts, Pair, Side
    from hil.history import Point

TIMED = ("latency.", "fps.", "paced.", "sustained.", "energy.")
"""Beginnings of the ids of checks whose values come from a timed series, beside which a control can be timed."""


def difference_of(pair: Pair, environments: Mapping[str, Facts]) -> ControlDifference | None:
    """Return the difference between the controls of the sides of ``pair``; ``None`` if they cannot be compared.

    The controls must be of one workload, and the ``environments`` (by digest) may differ only in the model's files.
    """
    if not _same_setting(pair, environments):
        return None
    return control_difference([point.control for point in pair.base], [point.control for point in pair.cand])


def why_disturbed(pair: Pair, environments: Mapping[str, Facts], names: tuple[str, str]) -> str:
    """Return why the recorded state of the machine may be the cause of a change of ``pair``; empty if not.

    The reason is a recorded disturbance from outside, or a clock that was limited on one side only. ``names`` are the
    names of base and candidate.
    """
    for points, name in zip((pair.base, pair.cand), names, strict=True):
        for text in (text for point in points for text in point.disturbed):
            return f"disturbed from outside on the side of {name} ({text}): find the cause, and measure that side again"
    if not _same_setting(pair, environments):
        return ""
    base, cand = (
        [highest_clocks(environments.get(p.environment, {})) for p in side] for side in (pair.base, pair.cand)
    )
    return why_clocks_differ(base, cand, names)


def _same_setting(pair: Pair, environments: Mapping[str, Facts]) -> bool:
    return len({_setting(point, environments) for point in (*pair.base, *pair.cand)}) == 1


def _setting(point: Point, environments: Mapping[str, Facts]) -> str:
    facts = environments.get(point.environment)
    return setting(facts) if facts else point.environment


def uncontrolled(base: Side, cand: Side) -> str | None:
    """Return a sentence that names the sides with timed rows without a control; ``None`` if there is no such side."""
    without = [side.name for side in (base, cand) if _lacks_control(side.points)]
    sides = " and ".join(without)
    return f"no control was timed on the side of {sides}: a slower machine would not be noticed" if without else None


def _lacks_control(points: Iterable[Point]) -> bool:
    return any(point.control is None for point in points if point.check.startswith(TIMED))
