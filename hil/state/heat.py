"""Find throttling, and decide whether the model caused it: only if the board was heated by the model's load before."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

from hil.state.lost_readings import state_readings
from hil.state.state_types import Finding, State, number, numbers

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    Moment = tuple[set[str], Mapping[str, float]]

ROSE = 0.5
"""The least rise of a temperature that counts, in °C: the resolution of the coarsest known sensors (a Nano's)."""
ROSE_BLIND = 3.0
"""°C by which a zone of unknown trip point must have become hotter for an alert to be the model's own."""
NEAR = 5.0
"""°C below its trip point at which a zone may already throttle: other sensors may be hotter, and samples miss peaks."""
NVML_COLUMN = "gpu"
NVML_HEAT = 0x20 | 0x40
"""nvml.h: SwThermalSlowdown, HwThermalSlowdown."""
NVML_HW_HEAT = 0x40
NVML_SLOW, NVML_BRAKE = 0x08, 0x80
"""nvml.h: HwSlowdown, caused by heat, the power brake or too much power; HwPowerBrakeSlowdown."""
PREFIXES = {"devfreq-": "gpu", "cpufreq-": "cpu", "thermal-cpufreq-": "cpu"}
"""The part that a clock cap (cooling device) limits, by the prefix of its name. Of devfreq caps, only the GPU's are
read."""


def throttling(before: State, windows: Sequence[Mapping[str, Any]], after: State) -> list[Finding]:
    """Return a finding for each alert that was active before the windows or became active later.

    A GPU clock that NVML reports as reduced for a reason other than heat is a finding too.
    """
    findings = [
        Finding("throttle", "outside", f"{alert} was active before anything was timed")
        for alert, state in sorted(before.throttle.items())
        if state > 0
    ]
    findings += _of_the_driver(windows)
    moments = list(_moments(before, windows, after))
    for alert in sorted({alert for active, _ in moments for alert in active}):
        start = before.throttle.get(alert)
        if start is None and alert != NVML_COLUMN:
            text = f"{alert} was active, but its state before could not be read"
            findings.append(Finding("throttle", "outside", text))
        elif not start:
            findings.append(_attributed(alert, before, moments))
    return findings


def _of_the_driver(windows: Sequence[Mapping[str, Any]]) -> Iterator[Finding]:
    """Yield findings from NVML's bits: throttling in the first sample, and throttling for a reason other than heat."""
    values = [int(v) for window in windows for v in numbers(window.get(f"throttle.{NVML_COLUMN}"))]
    if values and values[0] & (NVML_HEAT | NVML_SLOW | NVML_BRAKE):
        yield Finding("throttle", "outside", "the GPU's clock was reduced before anything was timed")
    if any(v & NVML_BRAKE or (v & NVML_SLOW and not v & NVML_HW_HEAT) for v in values):
        yield Finding("throttle", "outside", "the GPU's hardware reduced its clock for a reason other than heat")


def _moments(before: State, windows: Sequence[Mapping[str, Any]], after: State) -> Iterator[Moment]:
    """Yield the active alerts and the temperatures of every reading and sample, in order."""
    yield _moment(before)
    for window in windows:
        readings = state_readings(window)
        yield _moment(State.read(readings.get("before")))
        columns = {name: c for name, c in window.items() if isinstance(c, (list, tuple))}
        alerts = {name.partition(".")[2]: c for name, c in columns.items() if name.startswith("throttle.")}
        zones = {name.partition(".")[2]: c for name, c in columns.items() if name.startswith("temperature.")}
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


def _attributed(alert: str, before: State, moments: Sequence[Moment]) -> Finding:
    """Return an ``own`` finding if the alert's zone became hot before the alert was active, else an ``outside`` one."""
    zone, start = _zone(alert, before)
    if zone is None or start is None:
        text = f"{alert} became active, but no temperature shows whether the model's own load caused it"
        return Finding("throttle", "outside", text)
    first = next(at for at, (active, _) in enumerate(moments) if alert in active)
    peak = max(temperatures.get(zone, start) for _, temperatures in moments[: first + 1])
    trip = before.trips.get(zone)
    if peak - start < ROSE:
        why = f"although {zone} did not become hotter ({start:.1f} °C, at most {peak:.1f} °C)"
    elif trip is not None and peak < trip - NEAR:
        why = f"although {zone} was at most {peak:.1f} °C, far from the {trip:.1f} °C at which it throttles"
    elif trip is None and peak - start < ROSE_BLIND:
        why = f"although {zone} barely became hotter ({start:.1f} to {peak:.1f} °C)"
    else:
        text = f"{alert} became active as {zone} went from {start:.1f} to {peak:.1f} °C under the model's own load"
        return Finding("throttle", "own", text)
    return Finding("throttle", "outside", f"{alert} became active {why}")


def _zone(alert: str, before: State) -> tuple[str | None, float | None]:
    """Return the zone named like the alert (``gpu-thermal`` for ``gpu-throttle-alert``) and its °C.

    If no zone has such a name, return the hottest zone; if no sensor can be read, ``(None, None)``.
    """
    caps = [part for prefix, part in PREFIXES.items() if alert.startswith(prefix)]
    part = caps[0] if caps else _first_word(alert)
    for zone, value in sorted(before.temperature.items()):
        if _first_word(zone) == part:
            return zone, value
    return before.hottest() or (None, None)


def _first_word(name: str) -> str:
    return re.split(r"[^a-z0-9]+", name.lower())[0]
