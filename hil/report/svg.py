"""Draw compact inline SVG: whole pixels, relative paths, thinned series. Colours come from the style sheet."""

from __future__ import annotations

import math
from dataclasses import dataclass
from html import escape
from itertools import pairwise
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

    import numpy.typing as npt

    Floats = npt.NDArray[np.float64]

WIDTH = 640
LEFT, RIGHT = 8, WIDTH - 8
GUTTER = 60
"""The left end of a plot that has a y axis, in pixels. The labels of the axis are to the left of this position."""
NEAR = 24
"""A tick label closer than this many pixels to an end of the axis is aligned to stay inside the plot."""
DECADE = 10
LARGEST, SMALLEST = 1e150, 1e-150
"""The largest number and the smallest range that are drawn: beyond these, floating-point arithmetic overflows."""


def number(value: object) -> float:
    """Return ``value`` as a float; NaN if it is not a number, not finite, or beyond ``LARGEST``."""
    known = isinstance(value, (int, float)) and not isinstance(value, bool) and -LARGEST < value < LARGEST
    return float(value) if known and isinstance(value, (int, float)) else math.nan


@dataclass(frozen=True)
class Scale:
    """A linear or logarithmic map from ``low``…``high`` to the pixels ``start``…``end``. Values outside are clipped."""

    low: float
    high: float
    start: float
    end: float
    log: bool = False

    def __call__(self, value: float) -> int:
        """Return the pixel of ``value``, which must not be NaN."""
        low, high, at = (math.log(max(x, 1e-12)) if self.log else x for x in (self.low, self.high, value))
        share = (min(max(at, low), high) - low) / (high - low) if high - low > SMALLEST else 0.5
        return round(self.start + share * (self.end - self.start))

    def all(self, values: Floats) -> npt.NDArray[np.int64]:
        """Return the pixel of each of ``values``, none of which may be NaN."""
        low, high = (math.log(max(x, 1e-12)) if self.log else x for x in (self.low, self.high))
        at = np.clip(np.log(np.maximum(values, 1e-12)) if self.log else values, low, max(low, high))
        share = (at - low) / (high - low) if high - low > SMALLEST else np.full(values.shape, 0.5)
        return np.rint(self.start + share * (self.end - self.start)).astype(np.int64)

    def ticks(self, unit: float = 1.0) -> list[float]:
        """Return a few round values on the scale; only ``low`` if the scale's range is too small to draw.

        On a logarithmic scale they are the powers of ten in its range, if any, otherwise multiples of ``unit`` × 1, 2
        or 5 × a power of ten.
        """
        if not self.high - self.low > SMALLEST:
            return [self.low]
        if self.log:
            first, last = math.ceil(math.log10(self.low)), math.floor(math.log10(self.high))
            return [float(f"1e{power}") for power in range(first, last + 1)]
        rough = (self.high - self.low) / unit / 4
        size = 10 ** math.floor(math.log10(rough))
        step = unit * next(size * times for times in (1, 2, 5, DECADE) if size * times >= rough * 0.999)
        first = math.ceil(self.low / step - 1e-9)
        return [step * number for number in range(first, math.floor(self.high / step + 1e-9) + 1)]


def figure(kind: str, height: int, title: str, description: str, body: Iterable[str]) -> str:
    """Return one SVG figure with the elements ``body``, and with ``title`` and ``description`` for screen readers.

    ``kind`` is its CSS class, ``height`` its height in pixels.
    """
    return (
        f'<svg class="plot {kind}" viewBox="0 0 {WIDTH} {height}" role="img" aria-label="{escape(title, quote=True)}: '
        f'{escape(description, quote=True)}">{"".join(body)}</svg>'
    )


def line(kind: str, x: Sequence[int] | npt.NDArray[np.int64], y: Sequence[int] | npt.NDArray[np.int64]) -> str:
    """Return a path through the points ``x``, ``y``, without the inner points of horizontal runs.

    ``kind`` is its CSS class. The result is empty if there are no points.
    """
    return "" if not len(x) else f'<path class="{kind}" d="{_through(x, y)}"/>'


def area(kind: str, x: npt.NDArray[np.int64], low: npt.NDArray[np.int64], high: npt.NDArray[np.int64]) -> str:
    """Return the area between the lines ``low`` and ``high`` over ``x``; empty if there are no points.

    ``kind`` is its CSS class.
    """
    if not len(x):
        return ""
    upper, lower = _through(x, high), _through(x[::-1], low[::-1])
    return f'<path class="{kind}" d="{upper}L{lower[1:]}z"/>'


def _through(x: Sequence[int] | npt.NDArray[np.int64], y: Sequence[int] | npt.NDArray[np.int64]) -> str:
    points = [(int(a), int(b)) for a, b in zip(x, y, strict=True)]
    corners = [
        point
        for index, point in enumerate(points)
        if index in {0, len(points) - 1} or not (points[index - 1][1] == point[1] == points[index + 1][1])
    ]
    moves = "".join(f"{_pair(b[0] - a[0], b[1] - a[1])}" for a, b in pairwise(corners))
    return f"M{corners[0][0]} {corners[0][1]}" + (f"l{moves.lstrip()}" if moves else "")


def _pair(x: int, y: int) -> str:
    """Return two path coordinates with no more separators than SVG requires."""
    return f"{'' if x < 0 else ' '}{x}{'' if y < 0 else ' '}{y}"


def text(x: float, y: float, label: str, *, anchor: str = "", kind: str = "") -> str:
    """Return a text element. ``anchor`` is ``middle``, ``end`` or empty (start); ``kind`` is ``strong`` or empty."""
    # One-letter class names, because a page has thousands of these elements: see the style sheet.
    letters = " ".join(filter(None, (anchor[:1], kind[:1])))
    extra = f' class="{letters}"' if letters else ""
    return f'<text x="{x:g}" y="{y:g}"{extra}>{escape(label)}</text>'


def bottom(scale: Scale, y: int, show: Callable[[float], str]) -> list[str]:
    """Return the x axis below a plot with its tick labels; ``show`` formats a value."""
    ticks = [(scale(value), show(value) if value else "0") for value in scale.ticks()]
    marks = "".join(f"M{x} {y}v4" for x, _ in ticks)
    left, right = round(scale.start), round(scale.end)
    labels = [
        text(x, y + 17, label, anchor="" if x - left < NEAR else "end" if right - x < NEAR else "middle")
        for x, label in ticks
    ]
    return [f'<path class="axis" d="M{left} {y}H{right}{marks}"/>', *labels]


def levels(y: Scale, show: Callable[[float], str], unit: float = 1.0) -> list[str]:
    """Return the labels of the y axis, each with a grid line, at the first positive values of ``y.ticks(unit)``."""
    ticks = [value for value in y.ticks(unit) if value > 0][:6]
    marks = "".join(f"M{GUTTER} {y(value)}H{RIGHT}" for value in ticks)
    labels = (text(GUTTER - 6, y(value) + 4, show(value), anchor="end") for value in ticks)
    return [f'<path class="grid" d="{marks}"/>', *labels]


def across(kind: str, y: int, label: str, *, below: bool = False) -> list[str]:
    """Return a horizontal line across the plot with ``label`` at its right end, above the line or ``below`` it."""
    return [
        f'<path class="{kind}" d="M{GUTTER} {y}H{RIGHT}"/>',
        text(RIGHT, y + 13 if below else y - 4, label, anchor="end", kind="strong"),
    ]


def above(label: str) -> str:
    """Return a note, at the top of the plot, about a value above the plot; ``label`` describes the value."""
    return text(RIGHT, 12, f"{label}, far above ↑", anchor="end", kind="strong")


def thinned(at: Floats, values: Floats, bins: int) -> tuple[Floats, Floats, Floats, Floats]:
    """Divide the range of the positions ``at`` into ``bins`` equal intervals, and summarize ``values`` in each.

    Return centres, smallest, median and largest values, one for each interval. Values that are not finite, and
    intervals without values, are left out.
    """
    keep = np.argsort(np.where(np.isfinite(values), at, np.nan), kind="stable")
    keep = keep[np.isfinite(values[keep]) & np.isfinite(at[keep])]
    at, values = at[keep], values[keep]
    if not at.size:
        empty = np.empty(0)
        return empty, empty, empty, empty
    span = max(float(at[-1] - at[0]), SMALLEST)
    place = np.minimum(((at - at[0]) / span * bins).astype(np.int64), bins - 1)
    starts = np.flatnonzero(np.diff(place, prepend=-1) > 0)
    ends = np.append(starts[1:], at.size)
    middle = at[0] + (place[starts] + 0.5) / bins * span
    return (
        middle,
        np.minimum.reduceat(values, starts),
        np.asarray([np.median(values[a:b]) for a, b in zip(starts, ends, strict=True)]),
        np.maximum.reduceat(values, starts),
    )
