"""Small plots as inline SVG, drawn from numbers alone: colours come from the page's style sheet.

Each has a title and a description for those who do not see it, and says nothing by colour alone.
"""

from __future__ import annotations

from dataclasses import dataclass
from html import escape
from typing import TYPE_CHECKING

from hil.model import CheckResult, Limit, Measurement, Sense
from hil.report.view import SIGN, WORD, interval_text, limit_text, value_text
from hil.units import show

if TYPE_CHECKING:
    from collections.abc import Sequence

    from hil.report.schema import Totals

WIDTH, HEIGHT = 240, 30
PARTS = tuple(SIGN)
NEAR = 1.8
"""A limit further away than this many times the slowest inference would squeeze the histogram: it is only told."""


@dataclass(frozen=True)
class Scale:
    """A linear map from ``low``…``high`` to pixels ``left``…``right``; what lies outside is clipped."""

    low: float
    high: float
    left: float
    right: float

    def __call__(self, value: float) -> float:
        """The pixel of ``value``."""
        share = (value - self.low) / (self.high - self.low)
        return round(self.left + min(max(share, 0.0), 1.0) * (self.right - self.left), 2)


def _svg(ident: str, kind: str, size: tuple[int, int], words: tuple[str, str], body: Sequence[str]) -> str:
    (width, height), (title, description) = size, words
    stretch = ' preserveAspectRatio="none"' if kind == "totals-bar" else ""
    return (
        f'<svg class="plot {kind}" viewBox="0 0 {width} {height}"{stretch} role="img" '
        f'aria-labelledby="{ident}-t {ident}-d"><title id="{ident}-t">{escape(title)}</title>'
        f'<desc id="{ident}-d">{escape(description)}</desc>{"".join(body)}</svg>'
    )


def limit_bar(check: CheckResult, ident: str) -> str:
    """A measurement as a bar with its interval, against its limit; empty without both of them."""
    measurement, limit = check.measurement, check.limit
    if measurement is None or limit is None:
        return ""
    scale = _scale(measurement, limit)
    zero, value, line = scale(0.0), scale(measurement.value), scale(limit.value)
    bad = (line, WIDTH - 2) if limit.sense is Sense.AT_MOST else (2, line)
    body = [
        f'<rect class="track" x="2" y="9" width="{WIDTH - 4}" height="12" rx="3"/>',
        _box("beyond", bad, (9, 12)),
        _box(f"bar {check.verdict.value}", (min(zero, value), max(zero, value)), (11, 8), least=2),
        *_whisker(measurement, scale),
        f'<path class="limit" d="M{line} 4V26M{line - 4} 2h8l-4 5z"/>',
    ]
    if limit.fail_at is not None:
        body.append(f'<path class="fail-at" d="M{scale(limit.fail_at)} 7V23"/>')
    seen = f"{check.name}: {value_text(measurement)} against {limit_text(limit)}"
    sure = interval_text(measurement)
    words = (seen, ", ".join(filter(None, (WORD[check.verdict], sure))))
    return _svg(ident, "limit-bar", (WIDTH, HEIGHT), words, body)


def _scale(measurement: Measurement, limit: Limit) -> Scale:
    ends = [measurement.value, measurement.low, measurement.high, limit.value, limit.fail_at, 0.0]
    known = [end for end in ends if end is not None]
    low, high = min(known), max(known)
    room = (high - low) * 0.12 or 1.0
    return Scale(low - (room if low < 0 else 0.0), high + room, 2, WIDTH - 2)


def _box(kind: str, x: tuple[float, float], y: tuple[float, float], *, least: float = 0) -> str:
    (left, right), (top, height) = x, y
    width = max(round(right - left, 2), least)
    return f'<rect class="{kind}" x="{left}" y="{top}" width="{width}" height="{height}" rx="2"/>'


def _text(left: float, top: float, anchor: str, text: str, kind: str = "tick") -> str:
    return f'<text class="{kind}" x="{left}" y="{top}" text-anchor="{anchor}">{escape(text)}</text>'


def _whisker(measurement: Measurement, scale: Scale) -> list[str]:
    low, high = measurement.low, measurement.high
    if low is None and high is None:
        return []
    left = scale(scale.low if low is None else low)
    right = scale(scale.high if high is None else high)
    caps = "".join(f"M{x} 11v8" for x, end in ((left, low), (right, high)) if end is not None)
    return [f'<path class="whisker" d="M{left} 15H{right}{caps}"/>']


def totals_bar(totals: Totals) -> str:
    """All planned checks in one bar, by verdict."""
    planned = max(totals.planned, 1)
    body, left = [], 0.0
    for verdict in PARTS:
        number = getattr(totals, verdict.value)
        width = round(1000 * number / planned, 2)
        if number:
            body.append(_box(f"bar {verdict.value}", (left, left + width - 3), (0, 16), least=2))
        left = round(left + width, 2)
    words = ", ".join(f"{getattr(totals, verdict.value)} {WORD[verdict]}" for verdict in PARTS)
    return _svg("totals", "totals-bar", (1000, 16), (f"{totals.planned} checks", words), body)


def pair(first: float, second: float, ident: str, words: tuple[str, str]) -> str:
    """Two values as two bars on one scale, the first above the second."""
    top = max(first, second, 0.0) or 1.0
    scale = Scale(0.0, top, 2, WIDTH - 2)
    body = [
        _box("bar first", (2, scale(first)), (4, 9), least=2),
        _box("bar second", (2, scale(second)), (17, 9), least=2),
    ]
    return _svg(ident, "pair", (WIDTH, HEIGHT), words, body)


def histogram(edges: Sequence[float], counts: Sequence[float], limit: Limit | None, ident: str, name: str) -> str:
    """How often each duration was seen; ``edges`` has one more entry than ``counts``, in seconds."""
    width, height, floor = 720, 200, 168
    high = max(edges[-1], limit.value * 1.02 if limit and limit.value < NEAR * edges[-1] else 0.0)
    scale = Scale(edges[0] - 0.02 * (high - edges[0]), high, 8, width - 8)
    most = max(*counts, 1)
    body = [f'<path class="axis" d="M8 {floor}H{width - 8}"/>']
    for number, left, right in zip(counts, edges, edges[1:], strict=False):
        tall = round(number / most * (floor - 28), 2)
        if number:
            tall = max(tall, 1.5)
            body.append(_box("bar count", (scale(left) + 0.5, scale(right) - 0.5), (floor - tall, tall), least=1))
    for share in range(5):
        value = edges[0] + share / 4 * (high - edges[0])
        anchor = ("start", "middle", "middle", "middle", "end")[share]
        body.append(_text(scale(value), floor + 18, anchor, show(value, "s")))
    if limit is not None and limit.value <= high:
        line = scale(limit.value)
        anchor, shift = ("end", -6) if line > width / 2 else ("start", 6)
        body.append(f'<path class="limit" d="M{line} 4V{floor}"/>')
        body.append(_text(line + shift, 14, anchor, f"limit {show(limit.value, 's')}", "strong"))
    elif limit is not None:
        body.append(_text(width - 8, 14, "end", f"limit {show(limit.value, 's')}, further right →", "strong"))
    words = (
        f"{sum(counts):g} inferences from {show(edges[0], 's')} to {show(edges[-1], 's')}, limit {limit_text(limit)}"
    )
    return _svg(ident, "histogram", (width, height), (f"{name}: how long each inference took", words), body)
