"""False evidence ``device`` in a report is refused."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from hil.errors import HilError
from hil.gate.gate import seal
from hil.report.consistency import problems
from hil.report.schema import BoardUsed, Report, TargetReport
from hil.results import Evidence, ExecutedOn
from tests.jetson.trees import ORIN_NX
from tests.report import sample

if TYPE_CHECKING:
    from pathlib import Path

CPU = ExecutedOn(kind="cpu", name="AMD EPYC 9004")
DEVICE: dict[str, Any] = {"evidence": Evidence.DEVICE, "executed_on": sample.H200}


def contradiction(report: Any) -> str:
    """Return the only contradiction of ``report``."""
    contradictions = list(
        problems(report.model_copy(update={"decision": "PASSED", "exit_code": 0, "status": "complete"}))
    )
    assert len(contradictions) == 1, contradictions
    return contradictions[0]


def test_a_run_on_a_confirmed_board_is_consistent() -> None:
    """The draft that the other tests modify is consistent."""
    assert seal(sample.on_board()).decision == "PASSED"


@pytest.mark.parametrize(
    ("work", "why"),
    [
        (None, "does not name the processor"),
        (CPU, "AMD EPYC"),
        (ExecutedOn(kind="GPU", name="NVIDIA H200", sm="9.0"), "NVIDIA H200"),
        (ExecutedOn(kind="gpu", name="NVIDIA H100", sm="9.0"), "did not find NVIDIA H100"),
        (ExecutedOn(kind="gpu", name="NVIDIA H200", sm="8.7"), "SM 8.7"),
        (ExecutedOn(kind="gpu", name="NVIDIA H200"), "SM None"),
    ],
)
def test_a_device_row_ran_on_the_gpu_of_the_probe(work: ExecutedOn | None, why: str) -> None:
    """Evidence ``device`` requires the GPU, with its SM, that the probe read."""
    report = sample.with_row(sample.on_board(), "latency.p99", evidence=Evidence.DEVICE, executed_on=work)
    assert why in contradiction(report)
    with pytest.raises(HilError, match="contradicts itself"):
        seal(report)


@pytest.mark.parametrize("check_id", sorted(sample.ON_HOST))
def test_checks_on_the_host_have_no_evidence_device(check_id: str) -> None:
    """A check that runs on the host only cannot have evidence ``device``."""
    assert "runs on the host only" in contradiction(sample.with_row(sample.on_board(), check_id, **DEVICE))


def test_evidence_device_requires_a_confirmed_board() -> None:
    """Without a confirmed board no row has evidence ``device``."""
    report = sample.on_board()
    report = report.model_copy(update={"target": report.target.model_copy(update={"board": None})})
    contradictions = list(problems(report))
    assert contradictions
    assert all("no board was confirmed" in line for line in contradictions)


def test_a_jetson_is_the_module_of_its_facts(tmp_path: Path) -> None:
    """A report whose Jetson module is not the one that its facts identify is refused."""
    for gpu, sm, changes, problem in (
        ("Orin", "8.7", {}, None),
        ("Orin", "8.7", {"memory_total": 2**33}, "according to the probe's facts the board is not orin-nx-16gb"),
        ("Orin", "8.7", {"compatible": None}, "according to the probe's facts the board is not orin-nx-16gb"),
        ("Orin", "8.6", {}, "orin-nx-16gb has no GPU with SM 8.6"),
    ):
        text = sample.on_board().model_dump_json().replace("NVIDIA H200", gpu).replace('"9.0"', f'"{sm}"')
        report = Report.model_validate_json(text)
        facts = {**report.target.facts, "board": ORIN_NX.facts(tmp_path, **changes)}
        target = report.target.model_copy(update={"board": "orin-nx-16gb", "facts": facts})
        contradictions = [
            line for line in problems(report.model_copy(update={"target": target})) if "evidence 'device'" in line
        ]
        assert bool(contradictions) is bool(problem)
        assert all(problem is not None and problem in line for line in contradictions)


@pytest.mark.parametrize("facts", [{}, {"facts": []}, {"facts": {"tensorrt": "NVIDIA H200"}}, {"facts": {"x": {}}}])
def test_a_gpu_that_the_probe_did_not_read_does_not_count(facts: dict[str, Any]) -> None:
    """A GPU that the recorded facts do not name does not count as found, even if the facts are malformed."""
    report = sample.on_board()
    target = TargetReport(requested="gpu", used="gpu", kind="local", board="h200", facts=facts)
    contradictions = list(problems(report.model_copy(update={"target": target})))
    assert contradictions
    assert all("did not find" in line for line in contradictions)


def test_the_engine_of_a_device_row_ran_on_that_device() -> None:
    """A row without an engine, or with an engine that ran on the CPU, has no evidence ``device``."""
    report = sample.on_board()
    assert "did not run on that processor" in contradiction(
        sample.with_row(report, "latency.p99", **DEVICE, engine=None)
    )
    engines = tuple(each.model_copy(update={"executed_on": CPU}) for each in report.engines[:1])
    moved = report.model_copy(update={"engines": (*engines, *report.engines[1:])})
    contradictions = list(problems(moved))
    assert contradictions
    assert all("its engine did not run on that processor" in line for line in contradictions)


def test_each_row_of_several_boards_is_confirmed_by_its_own() -> None:
    """Evidence ``device`` in a report of a pool is confirmed by the facts of the board that judged the row."""
    report = sample.on_board()
    own = BoardUsed(board=report.target.board, facts=report.target.facts)
    bare = report.target.model_copy(update={"boards": {"a": own, "b": BoardUsed()}})
    for name, words in (("a", ""), ("b", "no board was confirmed"), ("c", "does not describe"), ("", "does not name")):
        rows = tuple(check.model_copy(update={"board": name}) for check in report.checks)
        found = list(problems(report.model_copy(update={"target": bare, "checks": rows})))
        assert bool(found) == bool(words), found
        assert all(words in line or "evidence 'device'" in line for line in found), found
        assert any(words in line for line in found) or not words
