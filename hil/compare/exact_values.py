"""Values that time and noise have no part in: what is lost on the same data, the size of an engine's file."""

from __future__ import annotations

import math
import statistics
from typing import TYPE_CHECKING, Any

from hil.compare.compared_checks import Measure, Scale
from hil.compare.schema import Row, Settings, Status
from hil.results import Sense
from hil.units import show

if TYPE_CHECKING:
    from collections.abc import Sequence

    from hil.compare.sides import Pair


def exactly(row: Row, pair: Pair, measure: Measure, settings: Settings) -> Row:
    """``row`` judged by the values themselves: worse if past ``settings.above``, as a ratio or (a loss) a difference.

    Where engines of one side differ among themselves by more than that, their median says nothing: unclear.
    """
    loss = measure.scale is Scale.LOSS
    base, cand = ([point.value for point in side] for side in (pair.base, pair.cand))
    if not all(map(math.isfinite, (*base, *cand))) or (not loss and min(*base, *cand) <= 0):
        return _told(row, Status.UNCLEAR, "not a value that can be compared")
    effects = [_apart(statistics.median(base), value, loss=loss) for value in (*base, *cand)]
    effect = _apart(statistics.median(base), statistics.median(cand), loss=loss)
    low, high = _interval(pair) if loss else (None, None)
    row = row.model_copy(update={"absolute": loss, "effect": effect, "low": low, "high": high})
    own = max(_range(effects[: len(base)]), _range(effects[len(base) :]))
    if own > settings.above:
        return _told(row, Status.UNCLEAR, f"it differs by {show(own, '1')} among the engines of one side")
    if base == cand or not effect:
        return _told(row, Status.SAME, "the same value")
    worse = effect if measure.sense is not Sense.AT_LEAST else -effect
    size = f"{show(abs(effect), '1')}{' of the whole' if loss else ''}"
    if worse > settings.above:
        return _told(row, Status.WORSE, f"by {size}, exact")
    if worse < -settings.above:
        return _told(row, Status.BETTER, f"by {size}, exact")
    return _told(row, Status.SAME, f"within {settings.above * 100:.3g} %, exact")


def _apart(base: float, value: float, *, loss: bool) -> float:
    return value - base if loss else value / base - 1


def _range(effects: Sequence[float]) -> float:
    return max(effects) - min(effects)


def _interval(pair: Pair) -> tuple[float | None, float | None]:
    """The difference's interval from each side's own: wider than a paired one, whose data a history does not keep."""
    ours, theirs = pair.base[0], pair.cand[0]
    return _less(theirs.low, ours.high), _less(theirs.high, ours.low)


def _less(left: float | None, right: float | None) -> float | None:
    return None if left is None or right is None else left - right


def _told(row: Row, status: Status, reason: str, **more: Any) -> Row:
    return row.model_copy(update={"status": status, "reason": reason, **more})
