from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import ValidationError

from hil.results import Cause, CheckResult, Evidence, Limit, Measurement, Sense, TargetUse, Verdict
from hil.session.outcome import Outcome

NUMBERS = st.floats(allow_nan=False, allow_infinity=False)
NAMES = st.text(max_size=20)
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | NUMBERS | NAMES,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(NAMES, inner, max_size=3),
    max_leaves=8,
)
TABLES = st.dictionaries(NAMES, st.dictionaries(NAMES, JSON, max_size=2), max_size=2)
ROWS = st.lists(st.dictionaries(NAMES, JSON, max_size=3), max_size=2)
RESULTS = st.builds(
    CheckResult,
    id=st.from_regex(r"[a-z][a-z0-9_]{0,5}\.[a-z0-9_]{1,5}", fullmatch=True),
    model=NAMES,
    precision=NAMES,
    scenario=NAMES,
    required=st.booleans(),
    verdict=st.sampled_from(Verdict),
    reason=NAMES,
    cause=st.none() | st.sampled_from(Cause),
    evidence=st.none() | st.sampled_from(Evidence),
    target=st.builds(TargetUse, requested=NAMES, used=NAMES),
    measurement=st.none() | st.builds(Measurement, value=NUMBERS, unit=NAMES, low=NUMBERS, n=st.integers(0)),
    limit=st.none() | st.builds(Limit, value=NUMBERS, unit=NAMES, sense=st.sampled_from(Sense), source=NAMES),
    details=st.dictionaries(NAMES, JSON, max_size=2),
)


@settings(max_examples=40)
@given(st.builds(Outcome, result=RESULTS, methods=TABLES, environments=TABLES, engines=ROWS, models=ROWS))
def test_an_outcome_survives_serialization(outcome: Outcome) -> None:
    """An outcome read from a worker's JSON equals the one that was sent, whatever text is in it."""
    serialized = json.dumps(outcome.model_dump(mode="json"), allow_nan=False)
    assert Outcome.model_validate_json(serialized) == outcome


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_a_measurement_must_be_finite(value: float) -> None:
    """A measurement of NaN or infinity is refused, because JSON has neither."""
    with pytest.raises(ValidationError):
        Measurement(value=value, unit="s", n=1)


def test_an_unknown_field_is_refused() -> None:
    """An outcome with a field that this version does not have is refused."""
    target = TargetUse(requested="cpu", used="cpu")
    result = CheckResult(id="a.b", required=True, verdict=Verdict.PASSED, reason="", target=target)
    serialized: dict[str, Any] = {**Outcome(result=result).model_dump(mode="json"), "note": "x"}
    with pytest.raises(ValidationError, match="note"):
        Outcome.model_validate(serialized)
