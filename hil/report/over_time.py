"""Draw the figures of one timed series: latency over time with the board's sensors, and frames per second."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np

from hil.checks import fps
from hil.report import svg
from hil.state.heat import NVML_HEAT, NVML_SLOW
from hil.units import show

if TYPE_CHECKING:
    import numpy.typing as npt

    from hil.results import Limit
    from hil.series import Series

    Floats = svg.Floats

TALL = 190
PLOT = (18, 168)
TRACE_HEIGHT = 44
WIDE_RANGE = 12
"""The scale is logarithmic if the slowest inference takes more than this many times the median."""
CLOCKS = (("clock.gpu", "GPU clock"), ("clock.policy0", "CPU clock"), ("clock.emc", "memory clock"))
MOST_COLUMN = 20_000


@dataclass(frozen=True, eq=False)
class SensorTrace:
    """The readings of one sensor. ``at`` and ``values`` have shape (n,); ``at`` is in seconds from the plot's start."""

    name: str
    unit: str
    at: Floats
    values: Floats


def latency(series: Series, limit: Limit | None, bins: int) -> str:
    """Return an SVG of the inference durations over time: smallest, median and largest in each of ``bins`` intervals.

    Below are the readings of clocks, temperature, power and throttling.
    """
    first = float(series.start[0])
    durations = series.duration
    middle, low, mid, high = svg.thinned(series.start - first, durations, bins)
    typical, most, least = float(np.median(durations)), float(durations.max()), float(durations.min())
    wide = most > WIDE_RANGE * typical
    ends = (least * 0.9, most * 1.1) if wide else (0.0, most * 1.05)
    limit_fits = limit is not None and limit.value <= (ends[1] * 3 if wide else ends[1] * 1.4)
    if limit is not None and limit_fits:
        ends = (ends[0], max(ends[1], limit.value * 1.15))
    x = svg.Scale(0.0, float(series.start[-1] + durations[-1]) - first, svg.GUTTER, svg.RIGHT)
    y = svg.Scale(*ends, PLOT[1], PLOT[0], log=wide)
    body = [
        *svg.levels(y, lambda value: show(value, "s")),
        svg.area("band", x.all(middle), y.all(low), y.all(high)),
        svg.line("median", x.all(middle), y.all(mid)),
    ]
    if limit is not None and limit_fits:
        body += svg.across("limit-line", y(limit.value), f"limit {show(limit.value, 's')}")
    elif limit is not None:
        body.append(svg.above(f"limit {show(limit.value, 's')}"))
    traces, alerts = sensor_traces(series, first), throttling_spans(series, first)
    height = PLOT[1]
    description = [f"median {show(typical, 's')}, from {show(least, 's')} to {show(most, 's')}"]
    steady = [trace for trace in traces if float(np.ptp(trace.values)) == 0.0]
    for trace in traces:
        description.append(f"{trace.name} {_range(trace)}")
        if trace not in steady:
            body += _trace(trace, x, height + 12, bins)
            height += TRACE_HEIGHT
    if steady:
        constant = ", ".join(f"{trace.name} {_range(trace)}" for trace in steady)
        body.append(svg.text(svg.GUTTER, height + 22, f"unchanged: {constant}"))
        height += TRACE_HEIGHT // 2
    if alerts is not None:
        body += _alerts(alerts, x, height + 12)
        height += TRACE_HEIGHT // 2
        description.append(f"throttling {_alerts_text(alerts)}")
    body += svg.bottom(x, height + 8, lambda value: show(value, "s"))
    return svg.figure("over-time", height + 30, "latency over time", "; ".join(description), body)


def _trace(trace: SensorTrace, x: svg.Scale, top: int, bins: int) -> list[str]:
    low, high = float(trace.values.min()), float(trace.values.max())
    room = (high - low) * 0.1 or max(abs(high), 1.0) * 0.05
    middle, _, mid, _ = svg.thinned(trace.at, trace.values, min(bins, 80))
    y = svg.Scale(low - room, high + room, top + TRACE_HEIGHT - 8, top + 14)
    return [
        svg.text(svg.GUTTER, top + 10, trace.name, kind="strong"),
        svg.text(svg.RIGHT, top + 10, _range(trace), anchor="end"),
        svg.line("trace", x.all(middle), y.all(mid)),
    ]


def _range(trace: SensorTrace) -> str:
    low, high = show(float(trace.values.min()), trace.unit), show(float(trace.values.max()), trace.unit)
    return low if low == high else f"{low} to {high}"


def _alerts(spans: list[tuple[float, float]], x: svg.Scale, top: int) -> list[str]:
    bars = "".join(f"M{x(a)} {top + 12}h{max(x(b) - x(a), 2)}v6h-{max(x(b) - x(a), 2)}z" for a, b in spans)
    return [
        svg.text(svg.GUTTER, top + 8, "Throttling", kind="strong"),
        svg.text(svg.RIGHT, top + 8, _alerts_text(spans), anchor="end"),
        *([f'<path class="alert" d="{bars}"/>'] if bars else []),
    ]


def _throttled(column: Floats) -> npt.NDArray[np.bool_]:
    """Return for each reading whether NVML's throttle reasons name heat or a hardware slowdown (``hil.state.heat``)."""
    bits = np.where(np.isfinite(column) & (np.abs(column) < 2**31), column, 0).astype(np.int64)
    return (bits & (NVML_HEAT | NVML_SLOW)) > 0


def _alerts_text(spans: list[tuple[float, float]]) -> str:
    return f"active for {show(sum(b - a for a, b in spans), 's')}" if spans else "none"


def sensor_traces(series: Series, first: float) -> list[SensorTrace]:
    """Return the readings of the clocks, of the hottest temperature sensor (except a PMIC's) and of the board's power.

    A sensor without readings is left out. Times are relative to ``first`` (s).
    """
    traces = [_column(series, first, name, title, "Hz") for name, title in CLOCKS]
    hot = sorted({k for w in _windows(series) for k in w if k.startswith("temperature.") and "pmic" not in k.lower()})
    zones = [trace for name in hot if (trace := _column(series, first, name, name.partition(".")[2], "°C"))]
    hottest = max(zones, key=lambda trace: float(trace.values.max()), default=None)
    if hottest is not None:
        traces.append(replace(hottest, name=f"Temperature, {hottest.name}"))
    traces.append(_column(series, first, "power.total", "Power of the board", "W"))
    return [trace for trace in traces if trace is not None]


def throttling_spans(series: Series, first: float) -> list[tuple[float, float]] | None:
    """Return start and end (s, relative to ``first``) of each span in which the kernel or driver reported throttling.

    ``None`` if the target has no source that reports throttling.
    """
    names = {key for window in _windows(series) for key in window if key.startswith("throttle.")}
    if not names:
        return None
    spans: list[tuple[float, float]] = []
    for window in _windows(series):
        at = _numbers(window.get("t"))
        up = np.zeros(at.size, dtype=bool)
        for name in names & set(window):
            column = _numbers(window[name])
            if column.size == at.size:
                up |= _throttled(column) if name == "throttle.gpu" else column > 0
        order = np.argsort(at)[: np.count_nonzero(np.isfinite(at))]  # samples without a time sort last: left out
        at, up = at[order], up[order]
        edges = np.flatnonzero(np.diff(np.concatenate([[0], up.astype(np.int8), [0]])))
        step = svg.number(window.get("interval"))
        step = max(step, 0.0) if np.isfinite(step) else 0.0
        pairs = zip(edges[::2], edges[1::2], strict=True)
        spans += [(float(at[a]) - first, float(at[b - 1]) - first + step) for a, b in pairs]
    return spans


def missing_sensors_note(series: Series) -> str:
    """Return a note for the page's reader if neither clocks nor temperatures were read; empty otherwise."""
    if any(key.startswith(("clock.", "temperature.")) for window in _windows(series) for key in window):
        return ""
    return "Clocks and temperatures cannot be read on this target."


def _column(series: Series, first: float, name: str, title: str, unit: str) -> SensorTrace | None:
    parts = [(_numbers(w.get("t")), _numbers(w.get(name))) for w in _windows(series)]
    parts = [(at, values) for at, values in parts if at.size == values.size and at.size]
    if not parts:
        return None
    at = np.concatenate([part for part, _ in parts]) - first
    values = np.concatenate([part for _, part in parts])
    keep = np.isfinite(at) & np.isfinite(values)
    return SensorTrace(title, unit, at[keep], values[keep]) if keep.any() else None


def _windows(series: Series) -> list[Mapping[str, Any]]:
    windows = series.facts.get("windows")
    return [each for each in windows if isinstance(each, Mapping)] if isinstance(windows, (list, tuple)) else []


def _numbers(column: Any) -> Floats:
    """Return a telemetry column as an array; a reading that is not a number is NaN.

    The array is empty if ``column`` is not a list, or longer than ``MOST_COLUMN``.
    """
    if not isinstance(column, (list, tuple)) or len(column) > MOST_COLUMN:
        return np.empty(0)
    return np.asarray([svg.number(each) for each in column], dtype=np.float64)


def rate(series: Series, limit: Limit | None, bins: int) -> str:
    """Return an SVG of the frames completed in each one-second window, with the limit and the failing rate.

    The result is empty for a series that is shorter than ``fps.FEWEST_WINDOWS`` windows.
    """
    times, done = fps.progress(series)
    span = float(times[-1] - times[0])
    if span < fps.FEWEST_WINDOWS * fps.WINDOW:
        return ""
    # The count of a sliding window changes slope only where a frame enters or leaves. Evenly spaced windows could miss
    # the slowest second.
    begins = np.concatenate([times, times - fps.WINDOW])
    begins = np.sort(begins[(begins >= times[0]) & (begins <= times[-1] - fps.WINDOW)])
    frames = np.interp(begins + fps.WINDOW, times, done) - np.interp(begins, times, done)
    middle, low, mid, high = svg.thinned(begins - times[0], frames, bins)
    most = max(float(frames.max()), limit.value if limit is not None else 0.0)
    x = svg.Scale(0.0, span - fps.WINDOW, svg.GUTTER, svg.RIGHT)
    y = svg.Scale(0.0, most * 1.08 or 1.0, PLOT[1], PLOT[0])
    body = [
        *svg.levels(y, lambda value: show(value, "1/s")),
        svg.area("band", x.all(middle), y.all(low), y.all(high)),
        svg.line("median", x.all(middle), y.all(mid)),
    ]
    if limit is not None:
        body += svg.across("limit-line", y(limit.value), f"target {show(limit.value, '1/s')}")
        if limit.fail_at is not None:
            share = f"{limit.fail_at / limit.value:.0%}" if limit.value else ""
            body += svg.across("fail-line", y(limit.fail_at), f"fails under {share}", below=True)
    body += svg.bottom(x, PLOT[1], lambda value: show(value, "s"))
    description = f"slowest second {show(float(frames.min()), '1/s')}, fastest {show(float(frames.max()), '1/s')}"
    return svg.figure("rate", TALL, "frames in each second", description, body)
