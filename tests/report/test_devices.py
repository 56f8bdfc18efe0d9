"""False evidence ``device`` in a report is refused."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from hil.errors import HilError
from hil.gate.gate import seal
from hil.report.consistency import problems
from hil.report.schema import Report, TargetReport
from hil.results import Evidence, ExecutedOn
from tests.jetson.trees import ORIN_NX
from tests.report import sample

if TYPE_CHECKING:
    from pathlib import Path

CPU = ExecutedOn(kind="cpu", name="AMD EPYC 9004")
DEVICE: dict[str, Any] = {"evidence": Evidence.DEVICE, "executed_on": sample.H200}


def only(report: Any) -> str:
    """Return the only contradiction of a report."""
    found = list(problems(report.model_copy(update={"decision": "PASSED", "exit_code": 0, "status": "complete"})))
    assert len(found) == 1, found
    return found[0]


def test_a_run_on_a_confirmed_board_holds_together() -> None:
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
def test_a_device_row_ran_on_the_gpu_that_was_seen(work: ExecutedOn | None, why: str) -> None:
    """Evidence ``device`` requires the GPU, with its SM, that the probe read."""
    report = sample.with_row(sample.on_board(), "latency.p99", evidence=Evidence.DEVICE, executed_on=work)
    assert why in only(report)
    with pytest.raises(HilError, match="contradicts itself"):
        seal(report)


@pytest.mark.parametrize("check_id", sorted(sample.ON_HOST))
def test_the_hosts_work_is_no_devices(check_id: str) -> None:
    """A check that runs on the host only cannot have evidence ``device``."""
    assert "runs on the host only" in only(sample.with_row(sample.on_board(), check_id, **DEVICE))


def test_without_a_confirmed_board_nothing_is_a_device() -> None:
    """Without a confirmed board no row has evidence ``device``."""
    report = sample.on_board()
    report = report.model_copy(update={"target": report.target.model_copy(update={"board": None})})
    found = list(problems(report))
    assert found
    assert all("no board was confirmed" in line for line in found)


def test_a_jetson_is_borne_out_by_its_own_facts(tmp_path: Path) -> None:
    """The report's Jetson module must be the one that the raw facts identify."""
    for gpu, sm, changes, told in (
        ("Orin", "8.7", {}, None),
        ("Orin", "8.7", {"memory_total": 2**33}, "according to the probe's facts the board is not orin-nx-16gb"),
        ("Orin", "8.7", {"compatible": None}, "according to the probe's facts the board is not orin-nx-16gb"),
        ("Orin", "8.6", {}, "orin-nx-16gb has no GPU with SM 8.6"),
    ):
        text = sample.on_board().model_dump_json().replace("NVIDIA H200", gpu).replace('"9.0"', f'"{sm}"')
        report = Report.model_validate_json(text)
        facts = {**report.target.facts, "board": ORIN_NX.facts(tmp_path, **changes)}
        target = report.target.model_copy(update={"board": "orin-nx-16gb", "facts": facts})
        found = [one for one in problems(report.model_copy(update={"target": target})) if "evidence 'device'" in one]
        assert bool(found) is bool(told)
        assert all(told is not None and told in one for one in found)


@pytest.mark.parametrize("facts", [{}, {"facts": []}, {"facts": {"tensorrt": "NVIDIA H200"}}, {"facts": {"x": {}}}])
def test_a_probe_that_saw_no_gpu_bears_out_nothing(facts: dict[str, Any]) -> None:
    """A GPU that is missing in the recorded facts, however malformed, does not count."""
    report = sample.on_board()
    target = TargetReport(requested="gpu", used="gpu", kind="local", board="h200", facts=facts)
    assert all("did not find" in line for line in problems(report.model_copy(update={"target": target})))


def test_a_device_row_names_an_engine_that_ran_there() -> None:
    """A row without an engine, or with an engine that ran on the CPU, has no evidence ``device``."""
    report = sample.on_board()
    assert "did not run on that processor" in only(sample.with_row(report, "latency.p99", **DEVICE, engine=None))
    engines = tuple(each.model_copy(update={"executed_on": CPU}) for each in report.engines[:1])
    moved = report.model_copy(update={"engines": (*engines, *report.engines[1:])})
    found = list(problems(moved))
    assert found
    assert all("its engine did not run on that processor" in line for line in found)
