"""What every judge returns: a figure with its limit."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

Row = Mapping[str, Any]
Bar = dict[str, Any]
CONFIDENCE = 0.95


def bar(  # noqa: PLR0913 - the fields of a bar, named at each call
    name: str,
    figure: float | None,
    limit: float,
    *,
    unit: str = "",
    at_least: bool = False,
    low: float | None = None,
    high: float | None = None,
) -> Bar:
    """Return a bar; without a figure it is not met."""
    figure = None if figure is None else float(figure)
    met = figure is not None and (figure >= limit if at_least else figure <= limit)
    sense = "at least" if at_least else "at most"
    bounds = {"low": finite(low), "high": finite(high)}
    return {"name": name, "figure": figure, "unit": unit, "sense": sense, "limit": float(limit), "met": met, **bounds}


def finite(value: float | None) -> float | None:
    """Return the end of an interval, or None if it is infinite."""
    return None if value is None or value in {float("inf"), float("-inf")} else float(value)
