"""Make a judgement, a verdict with its reason, from a measurement and a limit; all checks use this."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

from hil.results import Cause, Judgement, Limit, Measurement, Sense, Verdict
from hil.units import show

Details = Mapping[str, Any]


def judged(
    verdict: Verdict,
    reason: str,
    measurement: Measurement | None = None,
    limit: Limit | None = None,
    details: Details | None = None,
) -> Judgement:
    """Return a judgement whose ``details`` are converted to JSON types (``plain``)."""
    return Judgement(
        verdict=verdict, reason=reason, measurement=measurement, limit=limit, details=plain(dict(details or {}))
    )


def failed(reason: str, details: Details | None = None) -> Judgement:
    """Return a failed judgement without a measurement."""
    return judged(Verdict.FAILED, reason, details=details)


def inconclusive(reason: str, limit: Limit | None = None, details: Details | None = None) -> Judgement:
    """Return an inconclusive judgement without a measurement."""
    return judged(Verdict.INCONCLUSIVE, reason, limit=limit, details=details)


def no_limit(measurement: Measurement, details: Details | None = None) -> Judgement:
    """Return a judgement for a measurement without a limit: ``not_run`` with the cause ``no_limit``, never passed."""
    reason = f"measured {show(measurement.value, measurement.unit)}, no limit to compare it with"
    return Judgement(
        verdict=Verdict.NOT_RUN,
        reason=reason,
        cause=Cause.NO_LIMIT,
        measurement=measurement,
        details=plain(dict(details or {})),
    )


def hold(measurement: Measurement, limit: Limit | None, details: Details | None = None) -> Judgement:
    """Judge an exact value (a count, or the largest one measured) against ``limit``; without a limit: ``no_limit``."""
    exact = measurement.value
    return _hold(measurement, limit, exact, exact, "", details)


def hold_interval(
    measurement: Measurement, limit: Limit | None, advice: str, details: Details | None = None
) -> Judgement:
    """Judge the interval of ``measurement`` against ``limit``; without a limit, return ``no_limit``.

    Passed if the whole interval is within the limit, failed if all of it is beyond ``fail_at`` (``None``: the limit),
    warned if all of it is beyond the limit. Otherwise inconclusive, and the reason ends with ``advice``. A bound of
    ``None`` is infinite.
    """
    low = -math.inf if measurement.low is None else measurement.low
    high = math.inf if measurement.high is None else measurement.high
    return _hold(measurement, limit, low, high, advice, details)


def _hold(  # noqa: PLR0913, PLR0917 - private: both kinds of measurement end here
    measurement: Measurement, limit: Limit | None, low: float, high: float, advice: str, details: Details | None
) -> Judgement:
    if limit is None:
        return no_limit(measurement, details)
    if limit.unit != measurement.unit:
        reason = f"measured in {measurement.unit!r} but the limit is in {limit.unit!r} ({limit.source})"
        return judged(Verdict.INCONCLUSIVE, reason, measurement, limit, details)
    at_most = limit.sense is Sense.AT_MOST
    # Signs are reversed for AT_LEAST, so that larger is worse below.
    worst, best = (high, low) if at_most else (-low, -high)
    line = limit.value if at_most else -limit.value
    end = limit.value if limit.fail_at is None else limit.fail_at
    end = end if at_most else -end
    if worst <= line:
        verdict = Verdict.PASSED
    elif best > end:
        verdict = Verdict.FAILED
    elif best > line:
        verdict = Verdict.WARNED
    else:
        verdict = Verdict.INCONCLUSIVE
    reason = _reason(verdict, measurement, limit, low, high)
    if verdict is Verdict.INCONCLUSIVE and advice:
        reason = f"{reason}: {advice}"
    return judged(verdict, reason, measurement, limit, details)


def _reason(verdict: Verdict, measurement: Measurement, limit: Limit, low: float, high: float) -> str:
    unit = measurement.unit
    bound = "at most" if limit.sense is Sense.AT_MOST else "at least"
    measured = show(measurement.value, unit)
    if low != high:
        sides = [f"{word} {show(side, unit)}" for word, side in (("from", low), ("to", high)) if math.isfinite(side)]
        measured = f"{measured} ({' '.join(sides) or 'interval open on both sides'})"
    required = f"{bound} {show(limit.value, unit)}"
    if verdict is Verdict.WARNED and limit.fail_at is not None:
        side = "above" if limit.sense is Sense.AT_MOST else "below"
        required += f" (it fails {side} {show(limit.fail_at, unit)})"
    word = {Verdict.PASSED: "is", Verdict.INCONCLUSIVE: "is not clearly"}.get(verdict, "is not")
    same = show(measurement.value, unit) == show(limit.value, unit) and verdict in (Verdict.FAILED, Verdict.WARNED)
    by = f", by {show(abs(measurement.value - limit.value), unit)}" if same else ""
    return f"{measured} {word} {required}{by}"


def finite(value: float | None) -> float | None:
    """Return ``value``, or ``None`` if it is infinite or NaN, which ``Measurement`` and JSON cannot hold."""
    return value if value is not None and math.isfinite(value) else None


def plain(value: Any) -> Any:
    """Return ``value`` in JSON types: NumPy values as numbers and lists, NaN and infinities as text.

    Tuples and sets become lists. Any other object, and any key, becomes its ``str``.
    """
    if isinstance(value, Mapping):
        return {str(key): plain(entry) for key, entry in value.items()}
    if isinstance(value, (list, tuple, set, frozenset)):
        return [plain(entry) for entry in value]
    if hasattr(value, "tolist"):
        return plain(value.tolist())
    if isinstance(value, float) and not math.isfinite(value):
        return str(value)
    return value if value is None or isinstance(value, (bool, int, float, str)) else str(value)
