"""Judge inferences that are released at a camera's rate: response times, jitter and deadlines, from the release on."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np

from hil.checks import latency
from hil.checks.verdicts import finite, hold, hold_interval, inconclusive
from hil.results import Judgement, Limit, Measurement, Sense, Verdict
from hil.series import FloatArray, Series, digest_of
from hil.stats import drift, effective_size, percentile_bounds, samples_needed, smallest_n
from hil.units import show

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

EARLY = 1e-9
"""Seconds by which a start may precede its release because of rounding."""

Q = 0.99


def unusable(series: Series) -> str:
    """Return why ``series`` cannot be judged, or an empty string."""
    broken = latency.unusable(series)
    if broken:
        return broken
    pace = _pace(series)
    if pace is None:
        return "the inferences were not paced, so their release times are not known"
    if series.n > pace["releases"]:
        return f"{series.n} inferences were run for {pace['releases']:.0f} releases: timing is broken"
    if bool((series.start < release(series) - EARLY).any()):
        return "inferences began before their release: timing is broken"
    return ""


def release(series: Series) -> FloatArray:
    """Return the release times in seconds on the clock of ``series.start``, shape (n,)."""
    pace = _pace(series) or {}
    return np.asarray(pace["first"] + np.arange(series.n) * pace["period"], dtype=np.float64)


def response(series: Series) -> FloatArray:
    """Return the seconds from release to completion, shape (n,); waiting for the previous inference is included."""
    return series.start + series.duration - release(series)


def responses(series: Series) -> Series:
    """Return ``series`` with release times in place of starts, and response times in place of durations."""
    return replace(series, start=release(series), duration=response(series))


def prompt(series: Series) -> Series:
    """Return ``series`` as if each inference had started at its release, or at the end of the previous one if later.

    The durations are unchanged (Lindley 1952, Proc. Camb. Phil. Soc. 48, 277).
    """
    work = np.cumsum(series.duration)
    ends = work + np.maximum.accumulate(release(series) - (work - series.duration))
    return replace(series, start=ends - series.duration)


def response_p99(series: Series, limit: Limit | None, confidence: float) -> Judgement:
    """Judge ``paced.response_p99``: the 99th percentile of the response times, bounded like ``latency.p99``."""
    return _judge(series, limit, lambda one: latency.percentile(responses(one), Q, limit, confidence))


def missed(series: Series, deadline: float, limit: Limit | None, confidence: float) -> Judgement:
    """Judge ``paced.missed``: the share of inferences that end later than ``deadline`` (s) after their release.

    The bounds are Clopper and Pearson's (Biometrika 26, 1934), each side at ``confidence``, for the effective number of
    releases, since misses are correlated. A pass becomes inconclusive if the responses got slower during the run, so
    that the 99th percentile may cross the deadline.
    """
    return _judge(series, limit, lambda one: _missed(one, deadline, limit, confidence))


def _missed(series: Series, deadline: float, limit: Limit | None, confidence: float) -> Judgement:
    took = response(series)
    share = float(np.mean(took > deadline))
    worth = effective_size(took, 0.5, deadline)
    low, high = _binomial(share, worth, confidence)
    measurement = _measured(series, share, "1", (low, high), confidence, deadline)
    judgement = hold_interval(
        measurement, limit, _advice(series, share, limit, worth, confidence), _as_details(series, deadline)
    )
    rise = drift(took, Q, confidence)
    top = float(np.quantile(took, Q))
    if judgement.verdict is Verdict.PASSED and rise > 0 and top + rise > deadline:
        reason = f"{judgement.reason}, but responses got {show(rise, 's')} slower during the run: raise [measure] paced"
        judgement = judgement.model_copy(update={"verdict": Verdict.INCONCLUSIVE, "reason": reason})
    return judgement


def streak(series: Series, deadline: float, limit: Limit | None, confidence: float) -> Judgement:
    """Judge ``paced.streak``: the longest run of consecutive misses, an exact count.

    Inconclusive with fewer releases than ``smallest_n`` requires for the 99th percentile (459 at 99 % confidence).
    """
    return _judge(series, limit, lambda one: _streak(one, deadline, limit, confidence))


def _streak(series: Series, deadline: float, limit: Limit | None, confidence: float) -> Judgement:
    least = smallest_n(Q, confidence)
    if series.n < least:
        return inconclusive(f"{series.n} releases were served, {least} are needed: raise [measure] paced", limit)
    value = float(longest(response(series) > deadline))
    measurement = _measured(series, value, "releases", (None, None), None, deadline)
    return hold(measurement, limit, _as_details(series, deadline))


def jitter(series: Series, limit: Limit | None, confidence: float) -> Judgement:
    """Judge ``paced.jitter``: the 99th percentile of |response - median response|, with distribution-free bounds.

    The details also have the absolute and the relative finishing jitter (Buttazzo, Hard Real-Time Computing Systems,
    2.2).
    """
    return _judge(series, limit, lambda one: _jitter(one, limit, confidence))


def _jitter(series: Series, limit: Limit | None, confidence: float) -> Judgement:
    took = response(series)
    away = np.round(np.abs(took - np.median(took)), 9)  # no clock resolves less than a nanosecond
    worth = effective_size(away, Q, None if limit is None else limit.value)
    bounds = percentile_bounds(away, Q, confidence, worth)
    value = float(np.quantile(away, Q, method="inverted_cdf"))
    measurement = _measured(series, value, "s", (finite(bounds[0]), finite(bounds[1])), confidence)
    details = {
        **_as_details(series),
        "absolute_jitter": float(took.max() - took.min()),
        "relative_jitter": float(np.abs(np.diff(took)).max()) if took.size > 1 else 0.0,
        "effective_samples": round(worth, 1),
    }
    needed = math.ceil(smallest_n(Q, confidence) * series.n / worth)
    advice = f"{needed} releases or more would settle it: raise [measure] paced" if needed > series.n else ""
    return hold_interval(measurement, limit, advice, details)


def longest(late: np.ndarray[Any, Any]) -> int:
    """Return the length of the longest run of true values in ``late``, bool of shape (n,)."""
    edges = np.flatnonzero(np.diff(np.concatenate([[0], late.astype(np.int8), [0]])))
    return int((edges[1::2] - edges[::2]).max()) if edges.size else 0


def _pace(series: Series) -> Mapping[str, float] | None:
    windows = series.facts.get("windows")
    pace = windows[0].get("pace") if isinstance(windows, (list, tuple)) and len(windows) == 1 else None
    if not isinstance(pace, dict):
        return None
    numbers = [pace.get(key) for key in ("first", "period", "releases")]
    good = all(isinstance(number, (int, float)) and math.isfinite(number) for number in numbers)
    return pace if good and pace["period"] > 0 and pace["releases"] >= 1 else None


def _judge(series: Series, limit: Limit | None, judge: Callable[[Series], Judgement]) -> Judgement:
    """Return the judgement of ``judge``, made inconclusive if the series does not support it.

    A pass is supported if all releases were served, a failure if late starts are not its only cause.
    """
    broken = unusable(series)
    if broken:
        return inconclusive(broken, limit)
    judgement, planned, reason = judge(series), int((_pace(series) or {})["releases"]), ""
    if series.n < planned and judgement.verdict in (Verdict.PASSED, Verdict.WARNED):
        reason = (
            f"only {series.n} of {planned} releases were served in the time: the engine cannot keep up with the rate"
        )
    elif judgement.verdict is Verdict.FAILED and judge(prompt(series)).verdict is not Verdict.FAILED:
        late = show(float(_as_details(series)["late_wakeup_p99"]), "s")
        cause = f"the machine woke an idle worker late (p99 {late})"
        reason = f"{judgement.reason}, but only because {cause}: find out what else runs there"
    update = {"verdict": Verdict.INCONCLUSIVE, "reason": reason}
    return judgement.model_copy(update=update) if reason else judgement


def _binomial(share: float, worth: float, confidence: float) -> tuple[float, float]:
    from scipy.special import betaincinv  # 24 MiB that only judging needs

    count = share * worth
    low = 0.0 if count <= 0 else float(betaincinv(count, worth - count + 1, 1 - confidence))
    high = 1.0 if count >= worth else float(betaincinv(count + 1, worth - count, confidence))
    return low, high


def _measured(  # noqa: PLR0913, PLR0917 - private: what all measurements of this scenario share
    series: Series,
    value: float,
    unit: str,
    bounds: tuple[float | None, float | None],
    confidence: float | None,
    deadline: float | None = None,
) -> Measurement:
    method = {**series.method, **({} if deadline is None else {"deadline": deadline})}
    return Measurement(
        value=value,
        unit=unit,
        low=bounds[0],
        high=bounds[1],
        confidence=confidence,
        n=series.n,
        method=digest_of(method),
    )


def _advice(series: Series, share: float, limit: Limit | None, worth: float, confidence: float) -> str:
    if limit is None or limit.sense is not Sense.AT_MOST or not 0 < limit.value < 1:
        return ""
    needed = samples_needed(1 - limit.value, confidence, share)
    if needed is None:
        return f"{share:.3%} missed the deadline, so no number of releases would settle it"
    total = math.ceil(needed * series.n / worth)
    total = total if total > series.n else 2 * series.n
    seconds = total * float((_pace(series) or {})["period"])
    return f"about {total} releases would settle it: [measure] paced of {show(math.ceil(seconds), 's')} or more"


def _as_details(series: Series, deadline: float | None = None) -> dict[str, Any]:
    """Return the details that all ``paced`` checks share; times in seconds. With ``deadline``, add its misses."""
    grid, took = release(series), response(series)
    ends = series.start + series.duration
    free = np.maximum(grid, np.concatenate([grid[:1], ends[:-1]]))  # released, and the one before has ended
    pace = _pace(series) or {}
    details: dict[str, Any] = {
        "rate": 1 / pace["period"],
        "releases": int(pace["releases"]),
        "response_p50": float(np.quantile(took, 0.5)),
        "response_p99": float(np.quantile(took, Q)),
        "response_largest": float(took.max()),
        "start_delay_p99": float(np.quantile(series.start - grid, Q)),
        "late_wakeup_p99": float(np.quantile(series.start - free, Q)),
    }
    if deadline is not None:
        late = took > deadline
        details |= {"deadline": deadline, "missed": int(late.sum()), "streak": longest(late)}
        if late.any():
            details["first_missed_at"] = float(grid[int(late.argmax())] - grid[0])
    return details
