"""Latency: percentiles on their order-statistic bound, and what happens once (load, first inference)."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np

from hil.checks.verdicts import finite, hold, hold_interval, inconclusive, judged
from hil.results import Judgement, Limit, Measurement, Sense, Verdict
from hil.series import Series, digest_of
from hil.stats import drift, effective_size, percentile_bounds, samples_missing, smallest_n
from hil.units import show

if TYPE_CHECKING:
    from collections.abc import Sequence


DEVICE_RESOLUTION = 2e-6
"""Seconds by which two CUDA events may err: about half a microsecond each (cuEventElapsedTime), and some."""

AHEAD = 10
"""How many times as long as it was watched a series may go on drifting until its verdict falls."""

DEVICE_DRIFT = 1e-3
"""Share by which the device's clock may run faster than the host's."""


def percentile(series: Series, q: float, limit: Limit | None, confidence: float) -> Judgement:
    """``latency.p50``, ``p90``, ``p99``: is the ``q`` quantile of the durations within ``limit``?

    Passed if the upper bound at ``confidence`` is within the limit, failed if the lower one is past it,
    else inconclusive with the number of samples that would settle it. Neighbouring samples that hang
    together count for less (``effective_size``, at the limit where there is one: that is where the
    decision falls). Fewer independent samples than ``smallest_n`` cannot pass.
    """
    broken = unusable(series)
    if broken:
        return inconclusive(broken, limit)
    worth = effective_size(series.duration, q)
    low, high = percentile_bounds(series.duration, q, confidence, worth)
    if limit is not None:
        worth = effective_size(series.duration, q, limit.value)
        low, high = _decided(low, high, percentile_bounds(series.duration, q, confidence, worth), limit.value)
    measurement = Measurement(
        value=float(np.quantile(series.duration, q, method="inverted_cdf")),
        unit="s",
        low=finite(low),
        high=finite(high),
        confidence=confidence,
        n=series.n,
        method=digest_of(series.method),
    )
    details = {
        "effective_samples": round(worth, 1),
        "smallest_n": smallest_n(q, confidence),
        "largest": float(series.duration.max()),
        "smallest": float(series.duration.min()),
        **on_device(series),
    }
    if limit is not None and limit.sense is not Sense.AT_MOST:
        return inconclusive("a latency limit must be an upper one", limit, details)
    advice = "" if limit is None else _advice(series, q, limit.value, confidence, worth)
    rise = drift(series.duration, q, confidence)
    judgement = _steady(hold_interval(measurement, limit, advice, {**details, "drift": rise}), rise)
    if judgement.verdict is not Verdict.INCONCLUSIVE or limit is None:
        return judgement
    told = {**judgement.details, "samples_missing": _missing(series, q, limit.value, confidence, worth)}
    return judgement.model_copy(update={"details": told})


def _steady(judgement: Judgement, rise: float) -> Judgement:
    """A verdict that the series' own trend undoes is none: what drifts has no percentile to keep.

    It is undone where the limit lies between the series' start and where it will be after ``AHEAD`` times as long
    again: a drift of a tenth makes half the limit inconclusive, one of a hundredth does not.
    """
    measurement, limit = judgement.measurement, judgement.limit
    if judgement.verdict is Verdict.INCONCLUSIVE or not rise or measurement is None or limit is None:
        return judgement
    # The quantile of a ramp lies about half its rise under its end.
    start, ahead = measurement.value - rise / 2, measurement.value + (0.5 + AHEAD) * rise
    if not min(start, ahead) <= limit.value <= max(start, ahead):
        return judgement
    held, word = show(limit.value, "s"), "slower" if rise > 0 else "faster"
    seen = f"{show(measurement.value, 's')}, but {show(abs(rise), 's')} {word} at the end than at the start"
    ahead_of_it = judgement.verdict is (Verdict.PASSED if rise > 0 else Verdict.FAILED)
    where = f"going on like this it crosses {held}" if ahead_of_it else f"it began on the other side of {held}"
    reason = f"{seen}: {where}: warm up or measure longer"
    return judgement.model_copy(update={"verdict": Verdict.INCONCLUSIVE, "reason": reason})


def _decided(low: float, high: float, at_limit: tuple[float, float], limit: float) -> tuple[float, float]:
    """The interval, with the side that meets the limit decided by the bounds that hold there.

    Where those clear (or cross) the limit the interval ends at it, and where they do not it reaches past it.
    """
    high = min(high, limit) if at_limit[1] <= limit else max(high, at_limit[1])
    low = max(low, float(np.nextafter(limit, np.inf))) if at_limit[0] > limit else min(low, at_limit[0])
    return low, high


def _advice(series: Series, q: float, limit: float, confidence: float, worth: float) -> str:
    share = float(np.mean(series.duration > limit))
    missing = _missing(series, q, limit, confidence, worth)
    if missing is None:
        return f"{share:.3%} of the samples are over the limit, no number of samples would settle it"
    correlated = "" if worth > 0.9 * series.n else f" ({series.n} correlated ones count for {worth:.0f})"
    return f"about {missing} more samples would settle it{correlated}"


def _missing(series: Series, q: float, limit: float, confidence: float, worth: float) -> int | None:
    """How many more samples would settle it, if as many of them lie over the limit as did; None: no number would."""
    return samples_missing(q, confidence, float(np.mean(series.duration > limit)), series.n, worth)


def single(values: Sequence[float], limit: Limit | None) -> Judgement:
    """``latency.cold_load``, ``latency.first_inference``: the worst of the repeats, seconds, against ``limit``."""
    if not values:
        return inconclusive("it was never timed", limit)
    if not all(math.isfinite(value) and value > 0 for value in values):
        return inconclusive(f"not all of {list(values)} are positive finite seconds: timing is broken", limit)
    measurement = Measurement(value=max(values), unit="s", n=len(values))
    return hold(measurement, limit, {"repeats": list(values)})


def unusable(series: Series) -> str:
    """Why nothing may be concluded from ``series``, or an empty string."""
    start, duration = series.start, series.duration
    if duration.ndim != 1 or start.shape != duration.shape:
        return f"{start.shape} start times do not belong to {duration.shape} durations"
    if not series.n:
        return "no inference was timed"
    if series.batch < 1:
        return f"an inference of {series.batch} samples is none"
    bad = int(np.count_nonzero(~(np.isfinite(duration) & (duration > 0))))
    if bad:
        return f"{bad} of {series.n} durations are not positive finite seconds: timing is broken"
    if not np.isfinite(start).all() or bool((np.diff(start) < 0).any()):
        return "start times are not finite and in order: timing is broken"
    return _unusable_device(series)


def _unusable_device(series: Series) -> str:
    """The device works between the host's two looks at its clock, so it cannot have worked for longer."""
    device = series.device
    if device is None:
        return ""
    if device.shape != series.duration.shape:
        return f"{device.shape} device times do not belong to {series.duration.shape} durations"
    bad = int(np.count_nonzero(~(np.isfinite(device) & (device >= 0))))
    if bad:
        return f"{bad} of {series.n} device times are not finite seconds: timing is broken"
    longer = int(np.count_nonzero(device > series.duration * (1 + DEVICE_DRIFT) + DEVICE_RESOLUTION))
    if longer:
        return f"{longer} of {series.n} device times are longer than the host saw the inference take: timing is broken"
    return ""


def on_device(series: Series) -> dict[str, float]:
    """``device_p50`` and ``device_p99``, seconds on the device's own clock; empty without such a clock."""
    if series.device is None:
        return {}
    return {f"device_p{q}": float(np.quantile(series.device, q / 100, method="inverted_cdf")) for q in (50, 99)}


def ratio(reference: Series, candidate: Series, limit: Limit | None, confidence: float, q: float = 0.5) -> Judgement:
    """How many times faster ``candidate`` is at the ``q`` quantile: reference / candidate, unit ``x``.

    Each side is bounded at half the error, so that the interval of the ratio holds at ``confidence``
    (Bonferroni). Series taken by different methods or batches are refused, never compared.
    """
    for which, series in (("the reference's", reference), ("the candidate's", candidate)):
        broken = unusable(series)
        if broken:
            return inconclusive(f"{which} series: {broken}", limit)
    ours, theirs = digest_of(candidate.method), digest_of(reference.method)
    if ours != theirs or reference.batch != candidate.batch:
        keys = sorted(set(reference.method) | set(candidate.method))
        differ = [key for key in keys if reference.method.get(key) != candidate.method.get(key)]
        return inconclusive(f"measured by different methods ({', '.join(differ) or 'batch'}): not comparable", limit)
    level = 1 - (1 - confidence) / 2
    sides = [
        (float(np.quantile(s.duration, q)), *percentile_bounds(s.duration, q, level, effective_size(s.duration, q)))
        for s in (reference, candidate)
    ]
    (value, low, high), (other, other_low, other_high) = sides
    measurement = Measurement(
        value=value / other,
        unit="x",
        low=finite(max(low, 0.0) / other_high) or None,
        high=finite(high / other_low) if other_low > 0 else None,
        confidence=confidence,
        n=min(reference.n, candidate.n),
        method=ours,
    )
    details = {"reference_seconds": value, "candidate_seconds": other}
    if limit is not None and limit.sense is not Sense.AT_LEAST:
        return judged(Verdict.INCONCLUSIVE, "a speed-up limit must be a lower one", measurement, limit, details)
    return hold_interval(measurement, limit, "time more samples of both", details)
