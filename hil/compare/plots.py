"""Draw a change and its interval as a small SVG, with marks for no change, ``settings.above`` and ``exclude``."""

from __future__ import annotations

from html import escape
from typing import TYPE_CHECKING

from hil.compare import wording

if TYPE_CHECKING:
    from hil.compare.schema import Row, Settings

WIDTH, HEIGHT = 132, 22
WIDEST = 4.0
"""The end of the axis as a multiple of ``settings.exclude``. Larger changes are drawn at the end."""


def change(row: Row, settings: Settings, ident: str) -> str:
    """Return an SVG of the row's effect and interval, centred on no change; empty if the row has no effect."""
    if row.effect is None:
        return ""
    reach = WIDEST * settings.exclude

    def place(value: float) -> float:
        return round(WIDTH / 2 + min(max(value / reach, -1.0), 1.0) * (WIDTH / 2 - 3), 1)

    low, high = (place(row.effect if end is None else end) for end in (row.low, row.high))
    near, far = place(-settings.above), place(settings.above)
    body = [
        f'<rect class="track" x="2" y="7" width="{WIDTH - 4}" height="8" rx="3"/>',
        f'<rect class="none" x="{near}" y="4" width="{round(far - near, 1)}" height="14" rx="2"/>',
        *(f'<path class="fail-at" d="M{place(sign * settings.exclude)} 4V18"/>' for sign in (-1, 1)),
        f'<path class="axis" d="M{WIDTH / 2} 2V20"/>',
        f'<path class="whisker" d="M{low} 11H{high}M{low} 8v6M{high} 8v6"/>' if wording.interval(row) else "",
        f'<circle class="dot" cx="{place(row.effect)}" cy="11" r="4"/>',
    ]
    title = f"{row.name}: {wording.effect(row)}"
    description = f"{row.status.value}, interval {wording.interval(row) or 'unknown'}"
    return (
        f'<svg class="plot change" viewBox="0 0 {WIDTH} {HEIGHT}" role="img" aria-labelledby="{ident}-t {ident}-d">'
        f'<title id="{ident}-t">{escape(title)}</title><desc id="{ident}-d">{escape(description)}</desc>'
        f"{''.join(body)}</svg>"
    )
