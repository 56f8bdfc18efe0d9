"""Judge rows whose values have no timing noise: the loss on the same data, and the size of an engine file."""

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


def judge_exact(row: Row, pair: Pair, measure: Measure, settings: Settings) -> Row:
    """Return ``row`` judged by the values alone: worse or better if the medians differ by more than ``settings.above``.

    Differences are absolute for a loss, otherwise relative to the base's median. The row is unclear if a value is not
    finite or, except for a loss, not positive, or if the values of one side differ by more than ``settings.above``.
    """
    loss = measure.scale is Scale.LOSS
    base, cand = ([point.value for point in side] for side in (pair.base, pair.cand))
    if not all(map(math.isfinite, (*base, *cand))) or (not loss and min(*base, *cand) <= 0):
        return _with_status(row, Status.UNCLEAR, "a value is not finite, or not positive")
    effects = [_change(statistics.median(base), value, loss=loss) for value in (*base, *cand)]
    effect = _change(statistics.median(base), statistics.median(cand), loss=loss)
    low, high = _interval(pair) if loss else (None, None)
    row = row.model_copy(update={"absolute": loss, "effect": effect, "low": low, "high": high})
    spread = max(_range(effects[: len(base)]), _range(effects[len(base) :]))
    if spread > settings.above:
        return _with_status(row, Status.UNCLEAR, f"the values of one side differ by {show(spread, '1')}")
    if base == cand or not effect:
        return _with_status(row, Status.SAME, "the same value")
    worse = effect if measure.sense is not Sense.AT_LEAST else -effect
    size = f"{show(abs(effect), '1')}{' (absolute)' if loss else ''}"
    if worse > settings.above:
        return _with_status(row, Status.WORSE, f"by {size}, exact")
    if worse < -settings.above:
        return _with_status(row, Status.BETTER, f"by {size}, exact")
    return _with_status(row, Status.SAME, f"within {settings.above * 100:.3g} %, exact")


def _change(base: float, value: float, *, loss: bool) -> float:
    return value - base if loss else value / base - 1


def _range(effects: Sequence[float]) -> float:
    return max(effects) - min(effects)


def _interval(pair: Pair) -> tuple[float | None, float | None]:
    """Return the interval of the difference between the sides, from the interval of each side's first point.

    An end is ``None`` if an interval lacks it.
    """
    ours, theirs = pair.base[0], pair.cand[0]
    return _difference(theirs.low, ours.high), _difference(theirs.high, ours.low)


def _difference(left: float | None, right: float | None) -> float | None:
    return None if left is None or right is None else left - right


def _with_status(row: Row, status: Status, reason: str, **more: Any) -> Row:
    return row.model_copy(update={"status": status, "reason": reason, **more})
