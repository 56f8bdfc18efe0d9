"""Pictures drawn from a report's own numbers: how latencies are spread, memory over a soak, bars beside numbers.

Each picture says in words what it shows. A bar beside the numbers it is drawn from says nothing of its own, so it is
hidden from those who are read to; it is one element with its places as percentages, for a report may have thousands.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from hil.report import svg
from hil.report.view import SIGN, WORD, limit_text
from hil.results import CheckResult, Limit, Sense
from hil.units import show

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from hil.report.schema import Totals
    from hil.results import Measurement

PARTS = tuple(SIGN)
NEAR = 1.8
"""A limit further away than this many times the slowest inference would squeeze the histogram: it is only told."""
FLOOR = 168
TALL_BAR = 50
"""Times the middle bar from which on the tallest one makes the count's scale logarithmic."""
MOST_POINTS = 10_000


def gauge(check: CheckResult) -> str:
    """A measurement as a bar with its interval, against its limit; empty without both, or beyond what can be drawn."""
    measurement, limit = check.measurement, check.limit
    if measurement is None or limit is None:
        return ""
    ends = [measurement.value, measurement.low, measurement.high, limit.value, limit.fail_at, 0.0]
    known = [svg.number(end) for end in ends if end is not None]
    if not np.isfinite(known).all():
        return ""
    low, high = min(known), max(known)
    room = (high - low) * 0.12 or 1.0
    scale = svg.Scale(low - (room if low < 0 else 0.0), high + room, 0, 100)
    zero, value = scale(0.0), scale(measurement.value)
    places = {"s": min(zero, value), "w": max(abs(value - zero), 1), "l": scale(limit.value)}
    if measurement.low is not None or measurement.high is not None:
        left = 0 if measurement.low is None else scale(measurement.low)
        right = 100 if measurement.high is None else scale(measurement.high)
        places |= {"a": left, "i": max(right - left, 1)}
    kind = check.verdict.value + (" least" if limit.sense is Sense.AT_LEAST else "")
    return _bar(f"g {kind}", places)


def share(part: float, kind: str = "") -> str:
    """A share of 1 as a bar; more than 1 is full."""
    return _bar(f"g share {kind}".strip(), {"w": round(100 * min(max(part, 0.0), 1.0))})


def used(part: float, *, met: bool) -> str:
    """How much of a tolerance is used up, with all of it (1) at two thirds of the bar."""
    return _bar(
        f"g {'passed' if met else 'failed'}", {"s": 0, "w": round(min(max(part, 0.01), 1.5) / 1.5 * 100), "l": 67}
    )


def _bar(kind: str, places: Mapping[str, int]) -> str:
    style = ";".join(f"--{name}:{value}" for name, value in places.items())
    return f'<i class="{kind}" style="{style}"></i>'


def totals_bar(totals: Totals) -> str:
    """All planned checks in one bar, by verdict; the numbers stand in words beneath it."""
    parts = ((verdict.value, getattr(totals, verdict.value)) for verdict in PARTS)
    cells = "".join(f'<i class="{name}" style="flex-grow:{number}"></i>' for name, number in parts if number)
    words = ", ".join(f"{getattr(totals, verdict.value)} {WORD[verdict]}" for verdict in PARTS)
    return f'<div class="totals" role="img" aria-label="{totals.planned} checks: {words}">{cells}</div>'


def histogram(edges: Sequence[float], counts: Sequence[float], seen: Measurement | None, limit: Limit | None) -> str:
    """How often each duration was seen; ``edges`` has one more entry than ``counts``, in seconds.

    ``seen`` is the percentile that was judged: its interval is drawn, whose end was held against the limit.
    """
    bound = None if seen is None else seen.high
    drawn = [edges[-1]] + [v for v in (None if limit is None else limit.value, bound) if v and v < NEAR * edges[-1]]
    high = max(drawn) * (1.02 if len(drawn) > 1 else 1.0)
    x = svg.Scale(edges[0] - 0.02 * (high - edges[0]), high, svg.LEFT, svg.RIGHT)
    filled = [number for number in counts if number]
    # A long tail beside one tall bar would be flat on the axis, and it is the tail that a percentile is about.
    log = len(filled) > 1 and max(filled) > TALL_BAR * float(np.median(filled))
    y = svg.Scale(0.5 if log else 0.0, max(*counts, 1), FLOOR, 34, log=log)
    steps = [f"M{x(edges[0])} {FLOOR}"]
    steps += [
        f"V{min(y(number), FLOOR - 1) if number else FLOOR}H{x(right)}"
        for number, right in zip(counts, edges[1:], strict=True)
    ]
    body = [f'<path class="count" d="{"".join(steps)}V{FLOOR}z"/>']
    if log:
        body.append(svg.text(svg.LEFT, 13, "count, logarithmic"))
    if seen is not None and bound is not None and seen.low is not None:
        left, right = x(seen.low), x(bound)
        body.append(f'<path class="interval" d="M{left} 34V{FLOOR}H{max(right, left + 2)}V34z"/>')
        sure = "" if seen.confidence is None else f" at {seen.confidence * 100:.4g} %"
        anchor = "end" if right > svg.WIDTH / 2 else ""
        body.append(svg.text(right, 28, f"bound {show(bound, 's')}{sure}", anchor=anchor))
    if limit is not None and limit.value <= high:
        line = x(limit.value)
        anchor, shift = ("end", -5) if line > svg.WIDTH / 2 else ("", 5)
        body.append(f'<path class="limit-line" d="M{line} 4V{FLOOR}"/>')
        body.append(svg.text(line + shift, 13, f"limit {show(limit.value, 's')}", anchor=anchor, kind="strong"))
    elif limit is not None:
        words = f"limit {show(limit.value, 's')}, further right →"
        body.append(svg.text(svg.RIGHT, 13, words, anchor="end", kind="strong"))
    body += svg.bottom(x, FLOOR, lambda value: show(value, "s"))
    said = f"{sum(counts):g} inferences from {show(edges[0], 's')} to {show(edges[-1], 's')}, limit {limit_text(limit)}"
    return svg.figure("histogram", 190, "how long each inference took", said, body)


def memory(resident: Mapping[str, Any], details: Mapping[str, Any], limit: Limit | None) -> str:
    """The process's memory over a soak, with its baseline and the ceiling; empty where nothing usable was kept."""
    runs, host, device = (_column(resident.get(key)) for key in ("runs", "rss", "device"))
    if runs.size < 2 or host.size != runs.size:
        return ""
    lines = [("rss", host, "process")]
    if device.size == runs.size:
        lines.append(("device", device, "GPU"))
    most = max(float(values.max()) for _, values, _ in lines)
    near = limit is not None and limit.value <= 3 * most
    x = svg.Scale(float(runs[0]), float(runs[-1]), svg.GUTTER, svg.RIGHT)
    y = svg.Scale(0.0, max(most, limit.value if limit is not None and near else 0.0) * 1.12, FLOOR, 18)
    unit = next((size for size in (2.0**30, 2.0**20, 2.0**10) if y.high >= size), 1.0)
    body = svg.levels(y, lambda value: show(value, "B"), unit)
    for kind, values, words in lines:
        body.append(svg.line(f"median {kind}", x.all(runs), y.all(values)))
        body.append(svg.text(svg.GUTTER + 4, y(float(values[0])) - 5, f"{words} {show(float(values[-1]), 'B')}"))
    baseline = svg.number(details.get("baseline"))
    if 0 < baseline <= most:
        body += svg.across("fail-line", y(baseline), f"bare runtime {show(baseline, 'B')}", below=True)
    if limit is not None and near:
        body += svg.across("limit-line", y(limit.value), f"ceiling {show(limit.value, 'B')}")
    elif limit is not None:
        body.append(svg.above(f"ceiling {show(limit.value, 'B')}"))
    body += svg.bottom(x, FLOOR, lambda value: f"{value:,.0f}")
    ends = ((words, show(float(values[0]), "B"), show(float(values[-1]), "B")) for _, values, words in lines)
    said = ", ".join(f"{words} {first} at first, {last} at last" for words, first, last in ends)
    return svg.figure("memory", 190, f"memory over {runs[-1]:,.0f} inferences", said, body)


def _column(value: object) -> svg.Floats:
    """A list of positive finite numbers, or an empty one."""
    if not isinstance(value, list) or len(value) > MOST_POINTS:
        return np.empty(0)
    found = np.asarray([svg.number(each) for each in value], dtype=np.float64)
    return found if (found >= 0).all() else np.empty(0)
