"""A sample of ``benchmarks.int8_audit`` and ``benchmarks.determinism``; the whole of them is run as commands."""

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


@pytest.mark.parametrize("kind", ["cache of another data set", "a truncated cache"])
def test_a_planted_fault_is_found_and_named(kind: str, tmp_path: Path) -> None:
    """Two of the twelve kinds, by a real session."""
    fault = next(one for one in FAULTS if one.kind == kind)
    row = plant_fault(fault, 7, tmp_path)
    assert (row["found"], row["named"]) == (True, True), row


def test_a_healthy_calibration_is_not_accused(tmp_path: Path) -> None:
    """Drawn as the faulty ones are, without the fault."""
    row = audit_healthy(7, tmp_path)
    assert not row["accused"], row


def test_a_passed_check_is_no_finding() -> None:
    """A fault counts as named only by the check that is for it, with the cause in its reason."""

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
    """A value, a verdict or a digest that differs shows; the environment and what is timed do not."""
    other = {"checks": [{**ROW, "measurement": {"value": 0.1, "environment": "f"}}, {**ROW, "id": "int8.speedup"}]}
    assert comparable({"checks": [ROW]}) == comparable(other)
    for change in ({"verdict": "failed"}, {"measurement": {"value": 0.10000001}}, {"model": "n"}):
        assert comparable({"checks": [ROW]}) != comparable({"checks": [{**ROW, **change}]})
    assert set(LEFT_OUT) == {("measurement", "environment")}


def test_nothing_measured_is_nothing_compared() -> None:
    """Two empty reports are alike, and show nothing."""
    for checks in ([], [{**ROW, "measurement": None}], [{**ROW, "id": "latency.p50"}]):
        with pytest.raises(ValueError, match="no measurement"):
            comparable({"checks": checks})


def test_two_runs_judge_parity_and_int8_alike(tmp_path: Path) -> None:
    """Two fresh processes with nothing kept give the same bytes."""
    found = []
    for name in ("first", "second"):
        (tmp_path / name).mkdir()
        project = Project.make(tmp_path / name)
        project.edit('precisions = ["fp32"]', 'precisions = ["fp32", "int8"]')
        path = project.root / "hil.toml"
        path.write_text(path.read_text() + '\n[models.toy.calibration]\ndata = "calibration.npz"\n')
        save(project.root / "calibration.npz", samples(64, seed=5))
        ran = project.run(*SUITES, "-k", "parity or (int8 and not speedup)")
        assert ran.report is not None, ran.out
        assert ran.verdict("int8.repeatable", "int8") == "passed"
        found.append(comparable(ran.report))
    assert found[0] == found[1]
