"""Inline SVG as short as it can be: whole pixels, relative paths, thinned series. Colours come from the style sheet."""

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
"""Left of a plot with a scale of its own, where that is written."""
NEAR = 24
"""Pixels from an end within which a tick's word stays inside."""
DECADE = 10
LARGEST, SMALLEST = 1e150, 1e-150
"""What may be drawn: beyond the largest, and with stretches below the smallest, a double's arithmetic breaks."""


def number(value: object) -> float:
    """``value`` as a float; NaN where it is not a number, not finite, or beyond ``LARGEST``."""
    known = isinstance(value, (int, float)) and not isinstance(value, bool) and -LARGEST < value < LARGEST
    return float(value) if known and isinstance(value, (int, float)) else math.nan


@dataclass(frozen=True)
class Scale:
    """A map from ``low``…``high`` to pixels ``start``…``end``, linear or logarithmic; what lies outside is clipped."""

    low: float
    high: float
    start: float
    end: float
    log: bool = False

    def __call__(self, value: float) -> int:
        """The pixel of ``value``, which is not NaN."""
        low, high, at = (math.log(max(x, 1e-12)) if self.log else x for x in (self.low, self.high, value))
        share = (min(max(at, low), high) - low) / (high - low) if high - low > SMALLEST else 0.5
        return round(self.start + share * (self.end - self.start))

    def all(self, values: Floats) -> npt.NDArray[np.int64]:
        """The pixels of many values, none of which is NaN."""
        low, high = (math.log(max(x, 1e-12)) if self.log else x for x in (self.low, self.high))
        at = np.clip(np.log(np.maximum(values, 1e-12)) if self.log else values, low, max(low, high))
        share = (at - low) / (high - low) if high - low > SMALLEST else np.full(values.shape, 0.5)
        return np.rint(self.start + share * (self.end - self.start)).astype(np.int64)

    def ticks(self, unit: float = 1.0) -> list[float]:
        """A few round values on it, in ``unit``: powers of ten of a logarithm, else 1, 2 or 5 times one."""
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
    """One picture, with words for those who do not see it."""
    return (
        f'<svg class="plot {kind}" viewBox="0 0 {WIDTH} {height}" role="img" aria-label="{escape(title, quote=True)}: '
        f'{escape(description, quote=True)}">{"".join(body)}</svg>'
    )


def line(kind: str, x: Sequence[int] | npt.NDArray[np.int64], y: Sequence[int] | npt.NDArray[np.int64]) -> str:
    """A line through points, each relative to the one before; what does not move it is left out. Empty without any."""
    return "" if not len(x) else f'<path class="{kind}" d="{_through(x, y)}"/>'


def area(kind: str, x: npt.NDArray[np.int64], low: npt.NDArray[np.int64], high: npt.NDArray[np.int64]) -> str:
    """The area between two lines over the same ``x``; empty without a point."""
    if not len(x):
        return ""
    there, back = _through(x, high), _through(x[::-1], low[::-1])
    return f'<path class="{kind}" d="{there}L{back[1:]}z"/>'


def _through(x: Sequence[int] | npt.NDArray[np.int64], y: Sequence[int] | npt.NDArray[np.int64]) -> str:
    points = [(int(a), int(b)) for a, b in zip(x, y, strict=True)]
    kept = [
        here
        for at, here in enumerate(points)
        if at in {0, len(points) - 1} or not (points[at - 1][1] == here[1] == points[at + 1][1])
    ]
    moves = "".join(f"{_pair(b[0] - a[0], b[1] - a[1])}" for a, b in pairwise(kept))
    return f"M{kept[0][0]} {kept[0][1]}" + (f"l{moves.lstrip()}" if moves else "")


def _pair(x: int, y: int) -> str:
    """Two numbers with as few letters between them as a path needs."""
    return f"{'' if x < 0 else ' '}{x}{'' if y < 0 else ' '}{y}"


def text(x: float, y: float, words: str, *, anchor: str = "", kind: str = "") -> str:
    """A word at a place; ``anchor`` is ``middle`` or ``end``, ``kind`` is ``strong`` or none."""
    # A letter each, for there are thousands of them on a page: see the style sheet.
    letters = " ".join(filter(None, (anchor[:1], kind[:1])))
    extra = f' class="{letters}"' if letters else ""
    return f'<text x="{x:g}" y="{y:g}"{extra}>{escape(words)}</text>'


def bottom(scale: Scale, y: int, show: Callable[[float], str]) -> list[str]:
    """The axis under a plot with its ticks."""
    ticks = [(scale(value), show(value) if value else "0") for value in scale.ticks()]
    marks = "".join(f"M{x} {y}v4" for x, _ in ticks)
    left, right = round(scale.start), round(scale.end)
    told = [
        text(x, y + 17, words, anchor="" if x - left < NEAR else "end" if right - x < NEAR else "middle")
        for x, words in ticks
    ]
    return [f'<path class="axis" d="M{left} {y}H{right}{marks}"/>', *told]


def levels(y: Scale, show: Callable[[float], str], unit: float = 1.0) -> list[str]:
    """The scale at the left of a plot, with a line across it at each value, round in ``unit``."""
    ticks = [value for value in y.ticks(unit) if value > 0][:6]
    marks = "".join(f"M{GUTTER} {y(value)}H{RIGHT}" for value in ticks)
    words = (text(GUTTER - 6, y(value) + 4, show(value), anchor="end") for value in ticks)
    return [f'<path class="grid" d="{marks}"/>', *words]


def across(kind: str, y: int, words: str, *, below: bool = False) -> list[str]:
    """A line from left to right with its name at the right end."""
    return [
        f'<path class="{kind}" d="M{GUTTER} {y}H{RIGHT}"/>',
        text(RIGHT, y + 13 if below else y - 4, words, anchor="end", kind="strong"),
    ]


def above(words: str) -> str:
    """What lies above the plot, told at its top."""
    return text(RIGHT, 12, f"{words}, far above ↑", anchor="end", kind="strong")


def thinned(at: Floats, values: Floats, bins: int) -> tuple[Floats, Floats, Floats, Floats]:
    """Middle, least, median and greatest of ``values`` in ``bins`` equal stretches of ``at``; empty ones left out.

    The least and the greatest are kept of each stretch, so that no spike gets lost, however many samples there are.
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
