"""The fixture ``hil_check``: what its own comparisons state."""

from __future__ import annotations

import pytest

from hil.fixtures.check import compare
from hil.results import Limit, Sense, Verdict


@pytest.mark.parametrize(
    ("value", "reason"),
    [(2.0000001, "2.0000001 mm: not at most 2.0 mm"), (2.0, "2 mm: at most 2 mm"), (3.25, "3.25 mm: not at most 2 mm")],
)
def test_a_value_beside_its_limit_is_shown_apart_from_it(value: float, reason: str) -> None:
    """Value and limit never look the same if they differ."""
    judged = compare(value, Limit(value=2.0, unit="mm", sense=Sense.AT_MOST, source="here"))
    assert judged.reason == reason
    assert judged.verdict is (Verdict.PASSED if value <= 2 else Verdict.FAILED)
