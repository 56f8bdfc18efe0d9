"""Energy of an inference: the board's mean power under load times the timed seconds, divided by the inferences."""

from __future__ import annotations

import math
from itertools import pairwise
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from hil.checks.fps import segments
from hil.checks.latency import unusable
from hil.checks.verdicts import finite, hold_interval, inconclusive
from hil.results import Judgement, Limit, Measurement, Sense, Verdict
from hil.series import FloatArray, Series, digest_of
from hil.stats import mean_interval

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

POWER = "power.total"
FEWEST = 40
"""The fewest power samples that are judged: four seconds at 10 Hz (``mean_interval`` states the error from 40 on)."""

FEWEST_WORTH = 5.0
"""The smallest effective sample size that is judged."""

LEAST_READ = 0.9
"""Share of the samples that must have a reading."""

LONGEST_GAP = 1.0
"""The longest time (s) of a window that may pass without a power reading, or three sampling intervals if longer."""


class Window(NamedTuple):
    """One timed window: its length in seconds and its readable power samples (W).

    ``broken`` is the reason why it cannot be used, or an empty string.
    """

    seconds: float
    power: FloatArray
    broken: str


class Energy(NamedTuple):
    """Joules per inference with bounds, the mean power (W), the number of power samples and their effective number."""

    joules: float
    low: float
    high: float
    power: float
    samples: int
    worth: float


def unreadable(series: Series) -> str:
    """Return why no window of ``series`` has the board's power, or an empty string if at least one has it."""
    windows = _windows(series)
    if any(POWER in window for window in windows):
        return ""
    reasons = [str(window.get("not_readable", {}).get(POWER, "")) for window in windows]
    return next(filter(None, reasons), "no sensor was sampled during timing")


def source(series: Series) -> str:
    """Return the name of the power's source, or several joined by `` / `` if the windows differ."""
    return " / ".join(sorted({str(window.get("sources", {}).get(POWER, "unknown")) for window in _windows(series)}))


def method(series: Series) -> dict[str, Any]:
    """Return the fields that an energy's method has in addition to the method of its series."""
    return {"energy": "v1: mean power over the timed windows, idle not subtracted", "power": source(series)}


def inference(series: Series, limit: Limit | None, confidence: float) -> Judgement:
    """Judge ``energy.inference``: joules of the whole board per inference (of a batch), with inferences back to back.

    The interval is that of the mean of correlated power samples (Geyer 1992; Zwiers and von Storch 1995).
    """
    broken = unusable(series)
    if broken:
        return inconclusive(broken, limit)
    if limit is not None and limit.sense is not Sense.AT_MOST:
        return inconclusive("an energy limit must be a maximum", limit)
    energy = _energy(series, confidence)
    if isinstance(energy, str):
        return inconclusive(energy, limit)
    measurement = Measurement(
        value=energy.joules,
        unit="J",
        low=finite(energy.low),
        high=finite(energy.high),
        confidence=confidence,
        n=series.n,
        method=digest_of({**series.method, **method(series)}),
    )
    details = {
        "mean_power": energy.power,
        "power_samples": energy.samples,
        "effective_samples": round(energy.worth, 1),
        "power": source(series),
        "idle_power": "not subtracted",
        "joules_per_sample": energy.joules / series.batch,
    }
    judgement = hold_interval(measurement, limit, "measure longer", details)
    meter = f"measured for the whole board by {source(series)}, idle power not subtracted"
    return judgement.model_copy(update={"reason": f"{judgement.reason}; {meter}"})


def as_details(series: Series) -> dict[str, Any]:
    """Return ``{"energy": …}`` for the details of another check; an empty dict if the energy is not known.

    The entry has the mean power (W), the joules per inference and the source of the power.
    """
    energy = "" if unusable(series) or unreadable(series) else _energy(series, 0.99)
    if isinstance(energy, str):
        return {}
    return {"energy": {"mean_power": energy.power, "joules": energy.joules, "power": source(series)}}


def unsettled(series: Series, limit: Limit | None, confidence: float) -> bool:
    """Return whether a longer measurement may decide the check."""
    if limit is None or unreadable(series):
        return False
    return inference(series, limit, confidence).verdict is Verdict.INCONCLUSIVE


def _windows(series: Series) -> list[Mapping[str, Any]]:
    windows = series.facts.get("windows", [series.facts])
    return [window for window in windows if isinstance(window, dict)]


def _energy(series: Series, confidence: float) -> Energy | str:
    """Return the energy, or a text that states why it is not known."""
    if " / " in source(series):
        return f"the power was read from different sources: {source(series)}"
    windows = list(_timed(series))
    broken = next((window.broken for window in windows if window.broken), "")
    if broken or not windows:
        return broken or "no window was timed"
    samples = np.concatenate([window.power for window in windows])
    if samples.size < FEWEST:
        return f"{samples.size} power samples during timing, {FEWEST} are needed: measure longer"
    if samples.min() == samples.max():
        return f"all {samples.size} power samples are {samples[0]:g} W: the meter does not follow the load"
    mean, low, high, worth = mean_interval(samples, confidence)
    if worth < FEWEST_WORTH or not math.isfinite(low):
        return f"{samples.size} power samples are so correlated that they count as only {worth:.1f}: measure longer"
    seconds = sum(window.seconds for window in windows)
    # Windows differ in length and, after thinning, in samples per second: weight each by its time.
    power = sum(window.seconds * float(window.power.mean()) for window in windows) / seconds
    each = seconds / series.n
    return Energy(power * each, (power + low - mean) * each, (power + high - mean) * each, power, samples.size, worth)


def _timed(series: Series) -> Iterator[Window]:
    """Yield the timed windows of the series, each with its power, or with the reason why it cannot be used."""
    windows, first = _windows(series), 0
    for window in windows:
        n = window.get("n", series.n if len(windows) == 1 else 0)
        starts, durations = series.start[first : first + n], series.duration[first : first + n]
        first += n
        if not starts.size:
            yield Window(0.0, np.empty(0), "a window's inferences are not known")
            return
        yield _window(window, _spans(window, starts, starts + durations))
    if first != series.n:
        yield Window(0.0, np.empty(0), f"the windows hold {first} of {series.n} inferences")


def _spans(window: Mapping[str, Any], starts: FloatArray, ends: FloatArray) -> list[tuple[float, float]]:
    """Return begin and end of each part of the window; the control ran between the parts."""
    sizes = segments(window)
    edges = np.cumsum([0, *sizes]) if sum(sizes) == starts.size else np.array([0, starts.size])
    return [(float(starts[a]), float(ends[a:b].max())) for a, b in pairwise(edges.tolist())]


def _window(facts: Mapping[str, Any], spans: list[tuple[float, float]]) -> Window:
    """Return the window whose inferences ran within ``spans``; power that was read outside them does not count."""
    begin, end = spans[0][0], spans[-1][1]
    times, column = facts.get("t", ()), facts.get(POWER)
    if column is None or len(column) != len(times):
        return Window(0.0, np.empty(0), "the board's power was not readable in every window")
    at = np.asarray(times, dtype=np.float64)
    watts = np.array([math.nan if value is None else value for value in column], dtype=np.float64)
    inside = np.logical_or.reduce([(at >= one[0]) & (at <= one[1]) for one in spans])
    at, watts = at[inside], watts[inside]
    read = np.isfinite(watts)
    if not at.size or read.mean() < LEAST_READ:
        return Window(0.0, np.empty(0), f"only {int(read.sum())} of {at.size} power samples have a reading")
    if (watts[read] <= 0).any():
        return Window(0.0, np.empty(0), "some power samples are 0 W or less, which is impossible on a working board")
    edges = np.concatenate([[begin], at[read], [end]])
    gap = float(np.diff(edges).max())
    if gap > max(LONGEST_GAP, 3 * float(facts.get("interval", 0.0))):
        return Window(0.0, np.empty(0), f"no power was read for {gap:.1f} s of the timed window")
    return Window(sum(last - first for first, last in spans), watts[read], "")
