"""A sample of ``benchmarks.int8_audit`` and ``benchmarks.determinism``, which are run as commands in full."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from benchmarks.determinism import LEFT_OUT, comparable
from benchmarks.int8_audit.__main__ import audit_healthy, plant_fault
from benchmarks.int8_audit.faults import FAULTS
from tests.plugins.project import SUITES, Project, samples, save

if TYPE_CHECKING:
    from pathlib import Path

ROW: dict[str, Any] = {
    "id": "parity.outputs",
    "model": "m",
    "precision": "fp32",
    "verdict": "passed",
    "measurement": {"value": 0.1, "environment": "e"},
}


def test_a_planted_fault_is_detected_and_named(tmp_path: Path) -> None:
    """A session detects a planted fault and names its cause; one of the twelve kinds is tested here."""
    fault = next(fault for fault in FAULTS if fault.kind == "cache of another data set")
    row = plant_fault(fault, 7, tmp_path)
    assert (row["found"], row["named"]) == (True, True), row


def test_a_healthy_calibration_is_not_accused(tmp_path: Path) -> None:
    """A calibration that is drawn like the faulty ones, but has no fault, passes."""
    row = audit_healthy(7, tmp_path)
    assert not row["accused"], row


def test_only_a_failed_check_names_a_fault() -> None:
    """A fault counts as named only if its own check fails with the cause in the reason."""

    class Result:
        def __init__(self, verdict: str, reason: str) -> None:
            self.verdict, self.reason = type("V", (), {"value": verdict})(), reason

    fault = next(one for one in FAULTS if one.kind == "a scale of zero")
    results: Any = {"int8.cache": Result("passed", "scales of a are zero"), "int8.ranges": Result("failed", "zero")}
    assert fault.outcome(results) == (True, False)
    results = {"int8.cache": Result("failed", "scales of a are zero")}
    assert fault.outcome(results) == (True, True)
    assert fault.outcome({"int8.cache": Result("passed", "")}) == (False, False)  # type: ignore[dict-item]  # a stand-in


def test_only_named_fields_are_left_out() -> None:
    """The comparison covers values, verdicts and models; it ignores environments and timed checks."""
    other = {"checks": [{**ROW, "measurement": {"value": 0.1, "environment": "f"}}, {**ROW, "id": "int8.speedup"}]}
    assert comparable({"checks": [ROW]}) == comparable(other)
    for change in ({"verdict": "failed"}, {"measurement": {"value": 0.10000001}}, {"model": "n"}):
        assert comparable({"checks": [ROW]}) != comparable({"checks": [{**ROW, **change}]})
    assert set(LEFT_OUT) == {("measurement", "environment")}


def test_nothing_measured_is_nothing_compared() -> None:
    """A comparison of reports without measurements is an error."""
    for checks in ([], [{**ROW, "measurement": None}], [{**ROW, "id": "latency.p50"}]):
        with pytest.raises(ValueError, match="no measurement"):
            comparable({"checks": checks})


def test_two_runs_judge_parity_and_int8_alike(tmp_path: Path) -> None:
    """Two runs without a common cache give the same values for parity and INT8."""
    reports = []
    for name in ("first", "second"):
        (tmp_path / name).mkdir()
        project = Project.make(tmp_path / name)
        project.edit('precisions = ["fp32"]', 'precisions = ["fp32", "int8"]')
        path = project.root / "hil.toml"
        path.write_text(path.read_text() + '\n[models.toy.calibration]\ndata = "calibration.npz"\n')
        save(project.root / "calibration.npz", samples(64, seed=5))
        ran = project.run(*SUITES, "-k", "(test_parity or test_int8) and not speedup")  # "int8" is in many ids
        assert ran.report is not None, ran.out
        assert ran.verdict("int8.repeatable", "int8") == "passed"
        reports.append(comparable(ran.report))
    assert reports[0] == reports[1]
