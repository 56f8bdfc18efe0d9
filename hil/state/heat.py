"""Throttling: whose it is. The model's own load heats up to where the kernel throttles; all else is not its own."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

from hil.state.lost_readings import told
from hil.state.state_types import Finding, State, number, numbers

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    Moment = tuple[set[str], Mapping[str, float]]

ROSE = 0.5
"""°C: the step of the coarsest sensors among those whose readings are known (a Nano's)."""
ROSE_BLIND = 3.0
"""°C by which a zone must have got hotter before an alert is its own, where no trip point tells what is hot."""
NEAR = 5.0
"""°C below its trip point from which a zone may throttle: sensors beside it are hotter, and are sampled in steps."""
NVML_COLUMN = "gpu"
NVML_HEAT = 0x20 | 0x40
"""nvml.h: SwThermalSlowdown, HwThermalSlowdown."""
NVML_HW_HEAT = 0x40
NVML_SLOW, NVML_BRAKE = 0x08, 0x80
"""nvml.h: HwSlowdown, which heat, the power brake or too much power cause; HwPowerBrakeSlowdown."""
PREFIXES = {"devfreq-": "gpu", "cpufreq-": "cpu", "thermal-cpufreq-": "cpu"}
"""Caps of clocks by what heats their part; of devfreq's only the GPU's are read."""


def throttling(before: State, windows: Sequence[Mapping[str, Any]], after: State) -> list[Finding]:
    """Alerts that were up before any of the window's own load, and those that came up in it."""
    found = [
        Finding("throttle", "outside", f"{alert} was active before anything was timed")
        for alert, state in sorted(before.throttle.items())
        if state > 0
    ]
    found += _of_the_driver(windows)
    moments = list(_moments(before, windows, after))
    for alert in sorted({alert for active, _ in moments for alert in active}):
        start = before.throttle.get(alert)
        if start is None and alert != NVML_COLUMN:
            text = f"{alert} was active, and what it was before could not be read"
            found.append(Finding("throttle", "outside", text))
        elif not start:
            found.append(_whose(alert, before, moments))
    return found


def _of_the_driver(windows: Sequence[Mapping[str, Any]]) -> Iterator[Finding]:
    """What NVML's bits say: held back from the first sample on, or by something else than heat."""
    values = [int(v) for window in windows for v in numbers(window.get(f"throttle.{NVML_COLUMN}"))]
    if values and values[0] & (NVML_HEAT | NVML_SLOW | NVML_BRAKE):
        yield Finding("throttle", "outside", "the GPU was held back before anything was timed")
    if any(v & NVML_BRAKE or (v & NVML_SLOW and not v & NVML_HW_HEAT) for v in values):
        yield Finding("throttle", "outside", "the GPU was held back by its hardware, and not for heat")


def _moments(before: State, windows: Sequence[Mapping[str, Any]], after: State) -> Iterator[Moment]:
    """Every reading and sample in order: the alerts that were active, and the temperatures."""
    yield _moment(before)
    for window in windows:
        readings = told(window)
        yield _moment(State.read(readings.get("before")))
        kept = {name: c for name, c in window.items() if isinstance(c, (list, tuple))}
        alerts = {name.partition(".")[2]: c for name, c in kept.items() if name.startswith("throttle.")}
        zones = {name.partition(".")[2]: c for name, c in kept.items() if name.startswith("temperature.")}
        for at in range(max(map(len, alerts.values()), default=0)):
            active = {alert for alert, c in alerts.items() if at < len(c) and _active(alert, number(c[at]))}
            read = {zone: number(c[at]) for zone, c in zones.items() if at < len(c)}
            yield active, {zone: value for zone, value in read.items() if value is not None}
        yield _moment(State.read(readings.get("after")))
    yield _moment(after)


def _moment(state: State) -> Moment:
    return {alert for alert, value in state.throttle.items() if value > 0}, state.temperature


def _active(alert: str, value: float | None) -> bool:
    if value is None:
        return False
    return bool(int(value) & NVML_HEAT) if alert == NVML_COLUMN else value > 0


def _whose(alert: str, before: State, moments: Sequence[Moment]) -> Finding:
    """Its own where its zone had got hot before it came up: what gets hot afterwards has not raised it."""
    zone, start = _zone(alert, before)
    if zone is None or start is None:
        text = f"{alert} came up, and no temperature tells whether the model's own load is why"
        return Finding("throttle", "outside", text)
    first = next(at for at, (active, _) in enumerate(moments) if alert in active)
    peak = max(temperatures.get(zone, start) for _, temperatures in moments[: first + 1])
    trip = before.trips.get(zone)
    if peak - start < ROSE:
        why = f"though it did not get hotter ({zone} {start:.1f} °C, at most {peak:.1f} °C)"
    elif trip is not None and peak < trip - NEAR:
        why = f"though {zone} was at most {peak:.1f} °C, far from the {trip:.1f} °C at which it throttles"
    elif trip is None and peak - start < ROSE_BLIND:
        why = f"though {zone} got hardly hotter ({start:.1f} to {peak:.1f} °C)"
    else:
        text = f"{alert} came up as {zone} went from {start:.1f} to {peak:.1f} °C under the model's own load"
        return Finding("throttle", "own", text)
    return Finding("throttle", "outside", f"{alert} came up {why}")


def _zone(alert: str, before: State) -> tuple[str | None, float | None]:
    """The zone named like the alert (of ``gpu-throttle-alert``: ``gpu-thermal``, ``GPU-therm``), else the hottest."""
    caps = [part for prefix, part in PREFIXES.items() if alert.startswith(prefix)]
    part = caps[0] if caps else _first_word(alert)
    for zone, value in sorted(before.temperature.items()):
        if _first_word(zone) == part:
            return zone, value
    return before.hottest() or (None, None)


def _first_word(name: str) -> str:
    return re.split(r"[^a-z0-9]+", name.lower())[0]
