"""State in a few sentences how certain a report's decision is."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING

from hil.report.view import limit_text
from hil.results import Verdict
from hil.units import show

if TYPE_CHECKING:
    from collections.abc import Iterator

    from hil.report.schema import Report
    from hil.results import CheckResult

JUDGED = (Verdict.PASSED, Verdict.WARNED, Verdict.FAILED, Verdict.INCONCLUSIVE)
LIMITED = ("latency", "fps", "memory", "paced", "sustained", "energy")
"""Families whose limits the user chooses. Only for these is the margin of a pass reported."""


def certainty_lines(report: Report) -> list[str]:
    """Return sentences on how certain the decision is; a sentence for which the report has no numbers is left out."""
    return [*_intervals(report), *_closest_pass(report), *_detectable(report), *_largest_loss(report)]


def _intervals(report: Report) -> Iterator[str]:
    limited = [check for check in report.checks if check.limit is not None and check.measurement is not None]
    levels = Counter(
        check.measurement.confidence
        for check in limited
        if check.verdict in JUDGED and check.measurement is not None and check.measurement.confidence
    )
    if levels:
        number, least = sum(levels.values()), min(levels)
        level = f"{100 * least:.4g} %{' or more' if len(levels) > 1 else ''}"
        yield f"{number:,} limit{'s' * (number != 1)} judged by confidence bounds at {level}, not by point estimates"
    inconclusive = sum(check.verdict is Verdict.INCONCLUSIVE for check in report.checks)
    if inconclusive:
        yield f"{inconclusive:,} check{'s' * (inconclusive != 1)} inconclusive: neither passed nor failed"


def _closest_pass(report: Report) -> Iterator[str]:
    margins = [(margin, check) for check in report.checks if (margin := _margin(check)) is not None]
    if margins:
        margin, check = min(margins, key=lambda pair: pair[0])
        measurement, limit = check.measurement, check.limit
        if measurement is not None and limit is not None:
            values = f"{show(measurement.value, limit.unit)} against {limit_text(limit)}"
            yield f"closest pass: {check.name}, {values} (margin {margin:.1%})"


def _margin(check: CheckResult) -> float | None:
    """Return the distance of a passed row's value from its limit, as a share of the limit.

    Return ``None`` for other rows, for checks of a family that is not in ``LIMITED``, and without a positive limit.
    """
    measurement, limit = check.measurement, check.limit
    if check.verdict is not Verdict.PASSED or measurement is None or limit is None or limit.value <= 0:
        return None
    if check.id.split(".", 1)[0] not in LIMITED:
        return None
    return abs(1 - measurement.value / limit.value)


def _detectable(report: Report) -> Iterator[str]:
    values = [check.details.get("visible") for check in report.checks if check.id.startswith("regression.")]
    changes = [float(v) for v in values if isinstance(v, (int, float)) and not isinstance(v, bool) and 0 < v < 10]
    if changes:
        low, high = min(changes), max(changes)
        size = f"{low:.1%}" if low == high else f"{low:.1%} to {high:.1%}, depending on the row,"
        yield f"a regression of {size} against the baseline would have been detected with 90 % statistical power"


def _largest_loss(report: Report) -> Iterator[str]:
    """Yield a sentence with the largest upper bound of the task loss among the passed rows, and the row's name."""
    rows = [
        (loss.high, loss.confidence, check.name)
        for check in report.checks
        if check.id == "parity.task" and check.verdict is Verdict.PASSED
        if (loss := check.measurement) is not None and loss.high is not None and loss.confidence and loss.unit == "1"
    ]
    if rows:
        high, level, name = max(rows)
        least = f", the largest bound of {len(rows)} rows" if len(rows) > 1 else ""
        yield f"accuracy: a loss above {show(max(high, 0.0), '1')} is excluded at {100 * level:.4g} % for {name}{least}"
