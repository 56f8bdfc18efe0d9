"""Latency: percentiles with order-statistic bounds, and the durations of one-time steps (load, first inference)."""

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
"""Error of the time between two CUDA events, in seconds: about 0.5 µs each (cuEventElapsedTime), and a margin."""

AHEAD = 10
"""A drift is extrapolated over this many times the measured time. If the durations would then cross the limit, the
verdict is inconclusive."""

COUNTS = 0.9
"""The reason mentions correlation only if the effective sample size is at most this share of the number of samples."""

DEVICE_DRIFT = 1e-3
"""The relative rate by which the device's clock may run faster than the host's."""


def percentile(series: Series, q: float, limit: Limit | None, confidence: float) -> Judgement:
    """Judge ``latency.p50``, ``p90`` or ``p99``: is the ``q`` quantile of the durations (seconds) within ``limit``?

    Passed if the upper bound at ``confidence`` is within the limit, failed if the lower bound is beyond it. Otherwise
    inconclusive, also if a drift of the durations could reverse the verdict.
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
        return inconclusive("a latency limit must be a maximum", limit, details)
    advice = "" if limit is None else _advice(series, q, limit.value, confidence, worth)
    rise = drift(series.duration, q, confidence)
    judgement = _withdraw_if_drifting(hold_interval(measurement, limit, advice, {**details, "drift": rise}), rise)
    if judgement.verdict is not Verdict.INCONCLUSIVE or limit is None:
        return judgement
    number = _missing(series, q, limit.value, confidence, worth)
    missing = {"samples_missing": number, "seconds_missing": None if number is None else number * _seconds_each(series)}
    return judgement.model_copy(update={"details": {**judgement.details, **missing}})


def _withdraw_if_drifting(judgement: Judgement, rise: float) -> Judgement:
    """Return ``judgement``, made inconclusive if the drift of the series could reverse it.

    ``rise`` is the drift over the series, in seconds.
    """
    measurement, limit = judgement.measurement, judgement.limit
    if judgement.verdict is Verdict.INCONCLUSIVE or not rise or measurement is None or limit is None:
        return judgement
    # The quantile of a ramp lies about half of its rise below its end.
    start, ahead = measurement.value - rise / 2, measurement.value + (0.5 + AHEAD) * rise
    if not min(start, ahead) <= limit.value <= max(start, ahead):
        return judgement
    threshold, direction = show(limit.value, "s"), "slower" if rise > 0 else "faster"
    measured = f"{show(measurement.value, 's')}, but {show(abs(rise), 's')} {direction} at the end than at the start"
    approaching = judgement.verdict is (Verdict.PASSED if rise > 0 else Verdict.FAILED)
    where = f"it will cross {threshold} at this rate" if approaching else f"it began on the other side of {threshold}"
    fix = "measure longer, or judge minutes of work by limits.sustained" if rise > 0 else "raise [measure] warmup"
    reason = f"{measured}: {where}: {fix}"
    return judgement.model_copy(update={"verdict": Verdict.INCONCLUSIVE, "reason": reason})


def _decided(low: float, high: float, at_limit: tuple[float, float], limit: float) -> tuple[float, float]:
    """Return the interval ``(low, high)``, adjusted where it contradicts the verdict.

    ``at_limit`` are the lower and the upper bound that decide the verdict.
    """
    high = min(high, limit) if at_limit[1] <= limit else max(high, at_limit[1])
    low = max(low, float(np.nextafter(limit, np.inf))) if at_limit[0] > limit else min(low, at_limit[0])
    return low, high


def _advice(series: Series, q: float, limit: float, confidence: float, worth: float) -> str:
    share = float(np.mean(series.duration > limit))
    missing = _missing(series, q, limit, confidence, worth)
    if missing is None:
        return f"{share:.3%} of the samples are over the limit, so no number of samples would settle it"
    over = f"{share:.3%} of the samples are" if share else "no sample is"
    correlated = ""
    if worth <= COUNTS * series.n:
        why = "slow ones follow each other, as they do while other work disturbs the target"
        correlated = f", but the {series.n} correlated samples count for {worth:.0f}, because {why}"
    seconds = show(missing * _seconds_each(series), "s")
    return f"{over} over the limit{correlated}: about {missing} more samples, {seconds} of timing, would settle it"


def _seconds_each(series: Series) -> float:
    """Return the mean seconds from one inference to the next."""
    return float(series.start[-1] + series.duration[-1] - series.start[0]) / series.n


def _missing(series: Series, q: float, limit: float, confidence: float, worth: float) -> int | None:
    """Return how many more samples would decide the verdict if the share of samples over the limit stays the same.

    ``None`` if no number of samples would.
    """
    return samples_missing(q, confidence, float(np.mean(series.duration > limit)), series.n, worth)


def single(values: Sequence[float], limit: Limit | None) -> Judgement:
    """Judge ``latency.cold_load`` or ``latency.first_inference``: the largest of the repeats (seconds)."""
    if not values:
        return inconclusive("no repeat was timed", limit)
    if not all(math.isfinite(value) and value > 0 for value in values):
        return inconclusive(f"not all of {list(values)} are positive finite seconds: timing is broken", limit)
    measurement = Measurement(value=max(values), unit="s", n=len(values))
    return hold(measurement, limit, {"repeats": list(values)})


def unusable(series: Series) -> str:
    """Return why ``series`` cannot be judged, or an empty string."""
    start, duration = series.start, series.duration
    if duration.ndim != 1 or start.shape != duration.shape:
        return f"the start times have shape {start.shape}, the durations {duration.shape}"
    if not series.n:
        return "no inference was timed"
    if series.batch < 1:
        return f"the batch is {series.batch} samples, at least 1 is needed"
    bad = int(np.count_nonzero(~(np.isfinite(duration) & (duration > 0))))
    if bad:
        return f"{bad} of {series.n} durations are not positive finite seconds: timing is broken"
    if not np.isfinite(start).all() or bool((np.diff(start) < 0).any()):
        return "start times are not finite and in order: timing is broken"
    return _unusable_device(series)


def _unusable_device(series: Series) -> str:
    """Return why the device times cannot be judged, or an empty string."""
    device = series.device
    if device is None:
        return ""
    if device.shape != series.duration.shape:
        return f"the device times have shape {device.shape}, the durations {series.duration.shape}"
    bad = int(np.count_nonzero(~(np.isfinite(device) & (device >= 0))))
    if bad:
        return f"{bad} of {series.n} device times are not finite seconds: timing is broken"
    longer = int(np.count_nonzero(device > series.duration * (1 + DEVICE_DRIFT) + DEVICE_RESOLUTION))
    if longer:
        return (
            f"{longer} of {series.n} device times are longer than the host's for the same inference: timing is broken"
        )
    return ""


def on_device(series: Series) -> dict[str, float]:
    """Return ``device_p50`` and ``device_p99`` in seconds of the device's clock; empty without device times."""
    if series.device is None:
        return {}
    return {f"device_p{q}": float(np.quantile(series.device, q / 100, method="inverted_cdf")) for q in (50, 99)}


def ratio(reference: Series, candidate: Series, limit: Limit | None, confidence: float, q: float = 0.5) -> Judgement:
    """Judge how many times faster ``candidate`` is at the ``q`` quantile: reference / candidate, unit ``x``.

    The interval holds at ``confidence`` (Bonferroni). Inconclusive for series of different methods or batch sizes, and
    if ``limit`` is not a minimum.
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
        return judged(Verdict.INCONCLUSIVE, "a speed-up limit must be a minimum", measurement, limit, details)
    return hold_interval(measurement, limit, "time more samples of both", details)
