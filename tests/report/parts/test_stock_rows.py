"""Passed rows of the stock suites are those that a check of the catalogue can give in this report."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from hil.checks.placement import int8_layers
from hil.report.consistency import problems
from hil.report.parts.stock_rows import stock_rows
from hil.results import Limit, Sense, Verdict
from hil.series import digest_of
from tests.report import sample

if TYPE_CHECKING:
    from hil.report.schema import Report

SERIES = {"effective_samples": 4096.0, "smallest_n": 459, "smallest": 0.0007, "largest": 0.0093}
MET = {"output": "scores", "met": True, "dead": ""}


def changed(check_id: str, **changes: Any) -> Report:
    """Return a draft whose first row of ``check_id`` is changed; a table under ``measurement`` replaces fields."""
    report = sample.draft()
    row = next(one for one in report.checks if one.id == check_id)
    if isinstance(fields := changes.get("measurement"), dict):
        assert row.measurement is not None
        changes["measurement"] = row.measurement.model_copy(update=fields).model_dump()
    return sample.with_row(report, check_id, **changes)


@pytest.mark.parametrize("make", [sample.draft, sample.passed, sample.failed, sample.fallback, sample.on_board])
def test_rows_of_a_run_are_accepted(make: Any) -> None:
    """The rows that runs give contradict nothing."""
    assert not list(stock_rows(make()))


@pytest.mark.parametrize(
    ("check_id", "value"),
    [("placement.in_precision", 0.97), ("placement.int8_layers", 0.94), ("placement.dla_fallback", 0.0)],
)
def test_a_count_of_layers_is_certain(check_id: str, value: float) -> None:
    """The interval of a count of layers has a confidence of 1, which no statistical interval has."""
    judged = int8_layers([{"type": "Convolution", "name": "conv", "inputs": ["Int8"]}], None, ["conv"])
    assert judged.measurement is not None
    assert judged.measurement.confidence == 1
    report = changed(check_id, measurement={"confidence": 1.0, "low": value, "high": value})
    assert not [line for line in problems(report) if "confidence" in line]


@pytest.mark.parametrize(
    ("check_id", "changes", "message"),
    [
        ("latency.p99", {"measurement": {"n": 1}}, "1 independent samples give no bound: at least 459 are needed"),
        ("latency.p99", {"measurement": {"n": 458}, "details": {}}, "458 independent samples"),
        ("latency.p99", {"details": {**SERIES, "effective_samples": 458.9}}, "458.9 independent samples"),
        ("latency.p99", {"details": {**SERIES, "effective_samples": "many"}}, "nan independent samples"),
        ("latency.p99", {"details": {**SERIES, "smallest": 0.002}}, "outside of its own series"),
        ("latency.p99", {"details": {**SERIES, "largest": 0.001}}, "outside of its own series"),
        ("latency.p99", {"details": {**SERIES, "largest": None}}, "outside of its own series"),
        ("latency.p99", {"details": {"histogram": {"edges": [0.001, 0.006, 0.007], "counts": [98, 2]}}}, "allows"),
        ("latency.p50", {"details": {"histogram": {"edges": [0.001, 0.006, 0.007], "counts": [49, 51]}}}, "allows"),
        ("sustained.p99", {"measurement": {"n": 458, "confidence": 0.99}}, "458 independent samples"),
        ("paced.response_p99", {"measurement": {"n": 9, "confidence": 0.99}}, "9 independent samples"),
        ("latency.p99", {"measurement": {"low": 0.003, "high": 0.002}}, "is above the upper one"),
        ("latency.p99", {"measurement": {"confidence": 0.01}}, "its confidence is 0.01"),
        ("latency.p99", {"measurement": {"confidence": 1.0}}, "its confidence is 1"),
        ("latency.p99", {"measurement": {"method": ""}}, "does not name its method"),
        ("latency.p99", {"measurement": {"environment": ""}}, "does not name its method"),
        ("latency.p99", {"scenario": "idle"}, "its scenario is 'idle', but this check has 'saturated'"),
        ("latency.p99", {"engine": sample.digest("engine", "digits", "int8")}, "not that of its model and precision"),
        ("latency.p99", {"engine": None}, "not that of its model and precision"),
        ("latency.p99", {"model": "renamed"}, "its model is not in the report"),
        ("latency.p99", {"id": "latency.p42"}, "the stock suites have no such check"),
        ("latency.p99", {"limit": None}, "passed without a limit"),
        ("int8.ranges", {"precision": "fp32"}, "does not apply to its precision"),
        ("parity.outputs", {"details": {"outputs": [MET, {**MET, "met": False}]}}, "'scores' is beyond a tolerance"),
        ("parity.outputs", {"details": {"outputs": [{**MET, "dead": "all zero"}]}}, "'scores' is beyond a tolerance"),
    ],
)
def test_a_pass_that_no_check_gives_is_a_contradiction(check_id: str, changes: dict[str, Any], message: str) -> None:
    """A passed row that no check of the catalogue can give contradicts the report."""
    assert message in " | ".join(problems(changed(check_id, **changes)))


@pytest.mark.parametrize(
    "limit",
    [
        Limit(value=0.0, unit="s", sense=Sense.AT_LEAST, source="hil.toml:31"),
        Limit(value=5.0, unit="ms", sense=Sense.AT_MOST, source="hil.toml:31"),
        Limit(value=5.0, unit="s", sense=Sense.AT_MOST, source="hil.toml:31", fail_at=9.0),
    ],
    ids=["sense", "unit", "band"],
)
def test_the_limit_is_of_the_kind_of_its_check(limit: Limit) -> None:
    """A limit has the unit and the sense of its check, and a warning band only if the check has one."""
    report = changed("latency.p99", limit=limit.model_dump(), measurement={"unit": limit.unit})
    assert "its limit" in " | ".join(stock_rows(report))


def test_rows_that_did_not_pass_and_own_checks_are_free() -> None:
    """A failed row needs no engine, and a project's own check may have any limit and model."""
    assert not list(stock_rows(changed("latency.p99", verdict=Verdict.FAILED, measurement=None, engine=None)))
    own = changed("latency.p99", id="grasp.error", scenario="", engine=None, limit=None, model="arms")
    assert not list(stock_rows(own))


def test_a_model_is_listed_once_and_has_samples() -> None:
    """A model that is listed twice, or without validation samples, is a contradiction."""
    draft = sample.draft()
    first, *others = draft.models
    twice = draft.model_copy(update={"models": (first, first, *others)})
    assert "model digits is listed 2 times" in list(problems(twice))
    empty = draft.model_copy(update={"models": (first.model_copy(update={"samples": 0}), *others)})
    assert "model digits: it has no validation samples" in list(problems(empty))


def test_the_data_of_a_comparison_are_those_of_its_model() -> None:
    """A comparison with validation data that the report does not list contradicts it."""
    draft = sample.draft()
    own = {"version": 1, "data": draft.models[0].data_digest}
    other = {"version": 1, "data": "0" * 64}
    whole = draft.model_copy(update={"methods": {digest_of(one): one for one in (own, other, *draft.methods.values())}})
    row = next(one for one in whole.checks if one.id == "parity.task")
    for method, wrong in ((own, False), (other, True)):
        measured = sample.measurement("parity.task", 0.0, "1").model_copy(update={"method": digest_of(method)})
        found = list(stock_rows(sample.with_row(whole, row.id, measurement=measured.model_dump())))
        assert any("data that the report does not list" in line for line in found) is wrong
