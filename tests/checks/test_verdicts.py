"""The reasons of verdicts on a measurement and its limit."""

from __future__ import annotations

import pytest

from hil.checks.verdicts import hold
from hil.results import Limit, Measurement, Sense


@pytest.mark.parametrize(
    ("value", "unit", "limit", "sense", "reason"),
    [
        (0.0051204, "s", 0.00512, Sense.AT_MOST, "5.12 ms is not at most 5.12 ms, by 400 ns"),
        (0.95 - 1e-6, "1", 0.95, Sense.AT_LEAST, "95 % is not at least 95 %, by 0.0001 %"),
        (0.006, "s", 0.00512, Sense.AT_MOST, "6 ms is not at most 5.12 ms"),
        (0.00512, "s", 0.00512, Sense.AT_MOST, "5.12 ms is at most 5.12 ms"),
    ],
)
def test_a_missed_limit_is_shown_apart_from_the_value(
    value: float, unit: str, limit: float, sense: Sense, reason: str
) -> None:
    """If value and limit look the same, the reason states by how much the limit is missed."""
    judged = hold(Measurement(value=value, unit=unit, n=1), Limit(value=limit, unit=unit, sense=sense, source="here"))
    assert judged.reason == reason
