"""Check rows of the stock suites against the catalogue, and measurements against themselves."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

from hil.catalogue import CATALOGUE, CheckKind, LimitKey
from hil.config.own_checks import is_own
from hil.results import CheckResult, Evidence, Limit, Measurement, Verdict
from hil.stats import smallest_n
from hil.units import show

if TYPE_CHECKING:
    from collections.abc import Iterator

    from hil.report.schema import Report

GOOD = (Verdict.PASSED, Verdict.WARNED)
QUANTILE = re.compile(r"(?:latency|sustained|paced)\.(?:response_)?p(\d{2})")
"""Ids of checks that judge a percentile of a series by order statistics."""
COMPARED = frozenset({"parity.outputs", "parity.task", "int8.drop"})
"""Ids of checks whose method records the validation data that was compared."""
COUNTED = "placement."
"""Prefix of the ids of checks that count layers."""
ROUNDING = 1e-9
LEAST_CONFIDENCE = 0.5
"""``[measure] confidence`` may not be smaller."""


def stock_rows(report: Report) -> Iterator[str]:
    """Yield, as one line, each reason why no stock check can have produced a passed or warned row of this report.

    Rows of checks that the project itself defines are skipped.
    """
    models = {model.name: model.data_digest for model in report.models}
    engines = {(engine.digest, engine.model, engine.precision) for engine in report.engines}
    for check in report.checks:
        if check.verdict not in GOOD or is_own(check.id):
            continue
        kind = CATALOGUE.get(check.id)
        if kind is None:
            yield f"{check.name}: the stock suites have no such check"
            continue
        yield from (f"{check.name}: {what}" for what in _of_kind(check, kind))
        if check.model not in models:
            yield f"{check.name}: its model is not in the report"
        elif _data_of(check, report) not in (None, models[check.model]):
            yield f"{check.name}: it was measured with data that the report does not list for its model"
        # ``consistency`` requires the engine of a row with evidence ``device``.
        if (
            not kind.on_host
            and check.evidence is not Evidence.DEVICE
            and (check.engine, check.model, check.precision) not in engines
        ):
            yield f"{check.name}: its engine is not that of its model and precision"
        if check.verdict is Verdict.PASSED and (beyond := _beyond(check.details.get("outputs"))):
            yield f"{check.name}: it passed, but by its own details output {beyond} is beyond a tolerance"
        if QUANTILE.fullmatch(check.id):
            yield from (f"{check.name}: {what}" for what in _of_quantile(check))


def _data_of(check: CheckResult, report: Report) -> object:
    """Return the digest of the validation data that the method of a row records; ``None`` if it records none."""
    of_others = check.id not in COMPARED  # some methods of ``int8`` record the calibration data
    method = {} if of_others or check.measurement is None else report.methods.get(check.measurement.method, {})
    return method.get("data")


def _of_kind(check: CheckResult, kind: CheckKind) -> Iterator[str]:
    if check.scenario != kind.scenario:
        yield f"its scenario is {check.scenario!r}, but this check has {kind.scenario!r}"
    if kind.precisions is not None and check.precision not in kind.precisions:
        yield "this check does not apply to its precision"
    measurement, limit = check.measurement, check.limit
    if measurement is not None and not (measurement.method and measurement.environment):
        yield "its measurement does not name its method or its environment"
    if kind.limit is None:
        return
    if limit is None:
        if check.verdict is Verdict.PASSED:
            yield "passed without a limit"
    elif (limit.unit, limit.sense) != (kind.limit.unit, kind.limit.sense):
        yield f"its limit is {_kind_of(limit)}, but that of this check is {_kind_of(kind.limit)}"
    elif not _has_band(kind, limit):
        yield "its limit has a warning band that this check does not have"


def _beyond(outputs: object) -> str:
    """Return the quoted name of the first output in a row's details that is not within its tolerances, else ``""``."""
    listed = [one for one in outputs if isinstance(one, dict)] if isinstance(outputs, list) else []
    wrong = (one for one in listed if one.get("met") is False or one.get("dead"))
    return next((repr(one.get("output")) for one in wrong), "")


def _kind_of(limit: Limit | LimitKey) -> str:
    return f"{limit.sense.value} in {limit.unit!r}"


def _has_band(kind: CheckKind, limit: Limit) -> bool:
    """Return whether ``limit`` has no warning band, or ends its band where a limit of ``kind`` may end it."""
    if limit.fail_at is None or kind.limit is None:
        return True
    factors = {kind.limit.fail_factor, *(kind.limit.default_for or {}).values()}
    return any(factor is not None and limit.fail_at == factor * limit.value for factor in factors)


def _of_quantile(check: CheckResult) -> Iterator[str]:
    """Yield each reason why a passed row's percentile contradicts the row's number of samples or its own series."""
    measurement, limit, details = check.measurement, check.limit, check.details
    match = QUANTILE.fullmatch(check.id)
    if match is None or measurement is None or check.verdict is not Verdict.PASSED:
        return
    quantile = int(match[1]) / 100
    if measurement.confidence is not None and LEAST_CONFIDENCE <= measurement.confidence < 1:
        fewest = smallest_n(quantile, measurement.confidence)
        for worth in (measurement.n, _number(details, "effective_samples", measurement.n)):
            if not worth >= fewest:  # also if it is not a number
                yield f"{worth:g} independent samples give no bound: at least {fewest} are needed"
    least, most = (_number(details, key, measurement.value) for key in ("smallest", "largest"))
    if not least <= measurement.value <= most:
        yield f"its value lies outside of its own series, {show(least, 's')} to {show(most, 's')}"
    # The histogram of other scenarios is that of the whole series, of which they judge a part.
    whole = check.id.startswith("latency.")
    if whole and limit is not None and _share_over(details, limit.value) > 1 - quantile + ROUNDING:
        yield "more of its own series is over the limit than the percentile allows"


def _number(details: dict[str, Any], key: str, default: float) -> float:
    """Return the number ``key`` of ``details``; ``default`` if it is missing, NaN if it is not a number."""
    value = details.get(key, default)
    return value if isinstance(value, (int, float)) else float("nan")


def _share_over(details: dict[str, Any], limit: float) -> float:
    """Return the least share of the samples in a row's histogram that is over ``limit``; 0 without a readable one."""
    if "histogram" not in details:
        return 0.0
    try:
        edges, counts = details["histogram"]["edges"], details["histogram"]["counts"]
        if edges != sorted(edges):
            return 0.0
        return float(sum(count for edge, count in zip(edges, counts, strict=False) if edge > limit) / sum(counts))
    except (KeyError, TypeError, ZeroDivisionError):
        return 0.0


def of_measurement(check_id: str, measurement: Measurement) -> Iterator[str]:
    """Yield one line if the interval of ``measurement`` is reversed, and one if its confidence is out of range.

    A confidence is from 0.5 to below 1. Only counts of layers may have confidence 1: their interval is certain, because
    a layer that the inspector hides either counts or does not.
    """
    low, high, confidence = measurement.low, measurement.high, measurement.confidence
    if low is not None and high is not None and low > high:
        yield f"the lower end of its interval, {low:g}, is above the upper one, {high:g}"
    certain = confidence == 1 and check_id.startswith(COUNTED)
    if confidence is not None and not LEAST_CONFIDENCE <= confidence < 1 and not certain:
        yield f"its confidence is {confidence:g}"
