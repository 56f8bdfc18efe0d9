"""How sure a report is, in a few sentences: by which intervals, how close it was, what it could have seen."""

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
"""Families whose limits are a user's wish, so that the room left under one is worth telling."""


def sureness(report: Report) -> list[str]:
    """What a reader needs to know before trusting the decision; empty for a run in which nothing was judged."""
    return [*_intervals(report), *_closest(report), *_visible(report), *_loss(report)]


def _intervals(report: Report) -> Iterator[str]:
    held = [check for check in report.checks if check.limit is not None and check.measurement is not None]
    levels = Counter(
        check.measurement.confidence
        for check in held
        if check.verdict in JUDGED and check.measurement is not None and check.measurement.confidence
    )
    if levels:
        number, least = sum(levels.values()), min(levels)
        sure = f"{'an interval' if number == 1 else 'whole intervals'} of {100 * least:.4g} %"
        more = " or more" if len(levels) > 1 else ""
        yield f"{number:,} limit{'s' * (number != 1)} judged by {sure}{more}, not by a point estimate"
    open_rows = sum(check.verdict is Verdict.INCONCLUSIVE for check in report.checks)
    if open_rows:
        yield f"{open_rows:,} check{'s' * (open_rows != 1)} not settled either way"


def _closest(report: Report) -> Iterator[str]:
    rooms = [(room, check) for check in report.checks if (room := _room(check)) is not None]
    if rooms:
        room, check = min(rooms, key=lambda one: one[0])
        seen, limit = check.measurement, check.limit
        if seen is not None and limit is not None:
            held = f"{show(seen.value, limit.unit)} against {limit_text(limit)}"
            yield f"closest pass: {check.name}, {held} ({room:.1%} to spare)"


def _room(check: CheckResult) -> float | None:
    """The share of its limit that a pass left; its bound may lie at the limit, which is what decided it."""
    seen, limit = check.measurement, check.limit
    if check.verdict is not Verdict.PASSED or seen is None or limit is None or limit.value <= 0:
        return None
    if check.id.split(".", 1)[0] not in LIMITED:
        return None
    return abs(1 - seen.value / limit.value)


def _visible(report: Report) -> Iterator[str]:
    told = [check.details.get("visible") for check in report.checks if check.id.startswith("regression.")]
    # No run is planned to detect a change by a factor of ten.
    seen = [float(v) for v in told if isinstance(v, (int, float)) and not isinstance(v, bool) and 0 < v < 10]
    if seen:
        ends = f"{min(seen):.1%}" if min(seen) == max(seen) else f"{min(seen):.1%} to {max(seen):.1%}, by row"
        yield f"a worsening against the baseline of {ends} would have been seen with 90 % power"


def _loss(report: Report) -> Iterator[str]:
    """The largest loss that a pass leaves possible, and whose it is."""
    rows = [
        (seen.high, seen.confidence, check.name)
        for check in report.checks
        if check.id == "parity.task" and check.verdict is Verdict.PASSED
        if (seen := check.measurement) is not None and seen.high is not None and seen.confidence and seen.unit == "1"
    ]
    if rows:
        high, level, name = max(rows)
        lost, sure = show(max(high, 0.0), "1"), f"excluded at {100 * level:.4g} %"
        yield f"accuracy: losing more than {lost} is {sure}, for {name}, the least sure of {len(rows)}"
