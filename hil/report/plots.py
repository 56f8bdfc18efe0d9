"""Draw figures of a report's own numbers: the latency histogram, memory over a soak, and bars next to numbers.

Each figure has a text description.
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
"""A limit beyond this many times the slowest inference is written as text, not drawn: it would squeeze the plot."""
FLOOR = 168
LABEL = 16
"""Height of a label below a line."""

TALL_BAR = 50
"""The count's scale is logarithmic if the tallest bar is more than this many times the median bar."""
MOST_POINTS = 10_000
CURVE_COLUMNS = 3
NEAR_ERROR = 12.0
"""The scale of errors is logarithmic if the limit is more than this many times the largest of them."""


def gauge(check: CheckResult) -> str:
    """Return a bar of a measurement, its interval and its limit.

    Return an empty text if the row lacks a measurement or a limit, or if a number is larger than ``svg.LARGEST``.
    """
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
    """Return a bar filled to the share ``part`` (0 to 1); a larger share fills all of it. ``kind``: a CSS class."""
    return _bar(f"g share {kind}".strip(), {"w": round(100 * min(max(part, 0.0), 1.0))})


def used(part: float, *, met: bool) -> str:
    """Return a bar of ``part``, the used share of a tolerance, coloured by whether the tolerance is ``met``.

    A share of 1, the whole tolerance, is at two thirds of the bar.
    """
    return _bar(
        f"g {'passed' if met else 'failed'}", {"s": 0, "w": round(min(max(part, 0.01), 1.5) / 1.5 * 100), "l": 67}
    )


def _bar(kind: str, places: Mapping[str, int]) -> str:
    style = ";".join(f"--{name}:{value}" for name, value in places.items())
    return f'<i class="{kind}" style="{style}"></i>'


def totals_bar(totals: Totals) -> str:
    """Return one bar of all planned checks, divided by verdict. The page lists the numbers below it."""
    parts = ((verdict.value, getattr(totals, verdict.value)) for verdict in PARTS)
    cells = "".join(f'<i class="{name}" style="flex-grow:{number}"></i>' for name, number in parts if number)
    words = ", ".join(f"{getattr(totals, verdict.value)} {WORD[verdict]}" for verdict in PARTS)
    return f'<div class="totals" role="img" aria-label="{totals.planned} checks: {words}">{cells}</div>'


def histogram(
    edges: Sequence[float], counts: Sequence[float], percentile: Measurement | None, limit: Limit | None
) -> str:
    """Return an SVG histogram of the inference durations, with the interval of ``percentile`` and the limit, if any.

    ``edges`` are in seconds and have one more entry than ``counts``.
    """
    bound = None if percentile is None else percentile.high
    drawn = [edges[-1]] + [v for v in (None if limit is None else limit.value, bound) if v and v < NEAR * edges[-1]]
    high = max(drawn) * (1.02 if len(drawn) > 1 else 1.0)
    x = svg.Scale(edges[0] - 0.02 * (high - edges[0]), high, svg.LEFT, svg.RIGHT)
    filled = [number for number in counts if number]
    # On a linear scale one tall bar would flatten the tail, which is the part that a percentile depends on.
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
    if percentile is not None and bound is not None and percentile.low is not None:
        left, right = x(percentile.low), x(bound)
        body.append(f'<path class="interval" d="M{left} 34V{FLOOR}H{max(right, left + 2)}V34z"/>')
        level = "" if percentile.confidence is None else f" at {percentile.confidence * 100:.4g} %"
        anchor = "end" if right > svg.WIDTH / 2 else ""
        body.append(svg.text(right, 28, f"bound {show(bound, 's')}{level}", anchor=anchor))
    if limit is not None and limit.value <= high:
        line = x(limit.value)
        anchor, shift = ("end", -5) if line > svg.WIDTH / 2 else ("", 5)
        body.append(f'<path class="limit-line" d="M{line} 4V{FLOOR}"/>')
        body.append(svg.text(line + shift, 13, f"limit {show(limit.value, 's')}", anchor=anchor, kind="strong"))
    elif limit is not None:
        label = f"limit {show(limit.value, 's')}, further right →"
        body.append(svg.text(svg.RIGHT, 13, label, anchor="end", kind="strong"))
    body += svg.bottom(x, FLOOR, lambda value: show(value, "s"))
    span = f"{show(edges[0], 's')} to {show(edges[-1], 's')}"
    description = f"{sum(counts):g} inferences from {span}, limit {limit_text(limit)}"
    return svg.figure("histogram", 190, "distribution of inference times", description, body)


def memory(resident: Mapping[str, Any], details: Mapping[str, Any], limit: Limit | None) -> str:
    """Return an SVG of the worker process's memory over a soak, with the bare runtime's memory and the limit.

    ``resident`` has the columns ``runs`` (inferences), ``rss`` and optionally ``device`` (bytes). ``details`` has the
    bare runtime's memory as ``baseline``. The result is empty if ``runs`` or ``rss`` is missing or malformed, or if
    there are fewer than two readings.
    """
    runs, host, device = (_column(resident.get(key)) for key in ("runs", "rss", "device"))
    if runs.size < 2 or host.size != runs.size:
        return ""
    lines = [("rss", host, "process")]
    if device.size == runs.size:
        lines.append(("device", device, "GPU"))
    most = max(float(values.max()) for _, values, _ in lines)
    limit_fits = limit is not None and limit.value <= 3 * most
    x = svg.Scale(float(runs[0]), float(runs[-1]), svg.GUTTER, svg.RIGHT)
    y = svg.Scale(0.0, max(most, limit.value if limit is not None and limit_fits else 0.0) * 1.12, FLOOR, 18)
    unit = next((size for size in (2.0**30, 2.0**20, 2.0**10) if y.high >= size), 1.0)
    body = svg.levels(y, lambda value: show(value, "B"), unit)
    for kind, values, label in lines:
        body.append(svg.line(f"median {kind}", x.all(runs), y.all(values)))
        body.append(svg.text(svg.GUTTER + 4, y(float(values[0])) - 5, f"{label} {show(float(values[-1]), 'B')}"))
    baseline = svg.number(details.get("baseline"))
    if 0 < baseline <= most:
        body += svg.across("fail-line", y(baseline), f"bare runtime {show(baseline, 'B')}", below=True)
    if limit is not None and limit_fits:
        body += svg.across("limit-line", y(limit.value), f"ceiling {show(limit.value, 'B')}")
    elif limit is not None:
        body.append(svg.above(f"ceiling {show(limit.value, 'B')}"))
    body += svg.bottom(x, FLOOR, lambda value: f"{value:,.0f}")
    ends = ((label, show(float(values[0]), "B"), show(float(values[-1]), "B")) for _, values, label in lines)
    description = ", ".join(f"{label} {first} at the start, {last} at the end" for label, first, last in ends)
    return svg.figure("memory", 190, f"memory over {runs[-1]:,.0f} inferences", description, body)


def errors(curve: Sequence[Sequence[object]], limit: float) -> str:
    """Return an SVG of the error over the steps of sequences: mean and largest over the sequences, and the limit.

    ``curve`` has rows of step, mean error and largest error. The result is empty if ``curve`` is malformed, has fewer
    than two rows or more than ``MOST_POINTS``, or has no error above 0.
    """
    rows = [[svg.number(each) for each in row] for row in curve[:MOST_POINTS] if len(row) == CURVE_COLUMNS]
    table = np.asarray(rows, dtype=np.float64).reshape(-1, CURVE_COLUMNS)
    if len(table) < 2 or len(table) != len(curve) or not (table >= 0).all() or not table[:, 2].any():  # false for NaN
        return ""
    steps, mean, largest = table.T
    most, known = float(largest.max()), np.isfinite(limit) and limit > 0
    log = bool(known) and limit > NEAR_ERROR * most
    least = float(mean[mean > 0].min(initial=most)) / 2
    y = svg.Scale(
        least if log else 0.0, (max(most, limit) if known else most) * (2.0 if log else 1.15), FLOOR, 18, log=log
    )
    x = svg.Scale(float(steps[0]), float(steps[-1]), svg.GUTTER, svg.RIGHT)
    places = x.all(steps)
    body = [
        *svg.levels(y, lambda value: show(value, "1")),
        svg.area("band", places, y.all(mean), y.all(largest)),
        svg.line("median", places, y.all(mean)),
    ]
    if known:
        # Below a line at the bottom, the label would lie on the numbers of the steps.
        free = y(limit) + LABEL <= FLOOR
        body += svg.across("limit-line", y(limit), f"limit {show(limit, '1')} at the end", below=free)
    body += svg.bottom(x, FLOOR, lambda value: f"{value:,.0f}")
    first, last, top = (show(float(one), "1") for one in (mean[0], mean[-1], most))
    ends = f"mean error {first} in the first step, {last} in the last, largest {top}"
    return svg.figure("errors", 190, f"error over {steps[-1] + 1:,.0f} steps", ends, body)


def _column(value: object) -> svg.Floats:
    """Return ``value``, a list of finite numbers of 0 or more, as an array.

    Return an empty array for anything else, and for a list longer than ``MOST_POINTS``.
    """
    if not isinstance(value, list) or len(value) > MOST_POINTS:
        return np.empty(0)
    column = np.asarray([svg.number(each) for each in value], dtype=np.float64)
    return column if (column >= 0).all() else np.empty(0)
