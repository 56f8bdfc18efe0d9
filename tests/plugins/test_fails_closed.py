"""Ways in which a run could pass by accident, through the real command line: none of them passes."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper

import hil.suites
from hil.errors import ExitCode
from tests.plugins.project import CLASSES, FEATURES, SAMPLES, SUITES, Project, samples, save, toy

PARITY = (*SUITES, "-k", "(parity or contract) and not property")
FAILED, USER = int(ExitCode.FAILED), int(ExitCode.USER_ERROR)


def _reference(project: Project, **arrays: np.ndarray[Any, Any]) -> None:
    save(project.root / "outputs.npz", arrays)
    project.edit('data = "validation.npz"', 'data = "validation.npz"\nreference = "outputs.npz"')


def _scores(n: int = SAMPLES) -> np.ndarray[Any, Any]:
    weights = np.random.default_rng(7).normal(size=(FEATURES, CLASSES)).astype(np.float32)
    return np.asarray(samples(n)["x"] @ weights)


def test_the_healthy_project_passes(project: Project) -> None:
    """The healthy project passes; otherwise the other tests would prove nothing."""
    project.rate()
    project.keep()
    ran = project.run(*SUITES, "--target=cpu", "--hil-gate")
    assert ran.code == 0, ran.out
    assert ran.report is not None
    assert ran.report["decision"] == "PASSED"
    assert ran.report["totals"]["planned"] == ran.report["totals"]["passed"]
    assert project.hil("gate", "report/report.json").code == 0


def test_saved_outputs_of_the_training_framework_pass_too(project: Project) -> None:
    """The reference may be the user's own file; this one is right."""
    _reference(project, scores=_scores())
    assert project.run(*PARITY).verdict("parity.outputs") == "passed"


def test_a_reference_that_differs_in_structure_fails(project: Project) -> None:
    """Structure comes before numbers, and each difference is fatal."""
    references = {
        "fewer_outputs_than_the_reference": {"scores": _scores(), "boxes": _scores()},
        "an_output_renamed": {"logits": _scores()},
        "fewer_iterations": {"scores": _scores()[:-1]},
        "more_iterations": {"scores": np.concatenate([_scores(), _scores()])},
        "an_output_of_another_dtype": {"scores": _scores().astype(np.float64)},
        "an_output_of_another_shape": {"scores": _scores()[:, :, None]},
        "empty_arrays": {"scores": np.zeros((SAMPLES, 0), np.float32)},
        "other_numbers": {"scores": _scores() * 10},
    }
    for name, arrays in references.items():
        save(project.root / f"{name}.npz", arrays)
        with project.toml.open("a") as config:
            config.write(
                f'[models.{name}]\npath = "toy.onnx"\ndata = "validation.npz"\n'
                f'reference = "{name}.npz"\nprecisions = ["fp32"]\n'
            )
    ran = project.run(*SUITES, "-k", "test_outputs")
    assert ran.code == FAILED, ran.out
    assert ran.report is not None
    rows = {row["model"]: row["verdict"] for row in ran.report["checks"] if row["id"] == "parity.outputs"}
    assert rows == {"toy": "passed", **dict.fromkeys(references, "failed")}, ran.out


def test_zero_iterations_fail(project: Project) -> None:
    """A reference without a row compares nothing."""
    _reference(project, scores=_scores()[:0])
    ran = project.run(*PARITY)
    assert ran.code in (FAILED, USER)
    assert "passed" not in {
        c["verdict"] for c in (ran.report or {"checks": []})["checks"] if c["id"] == "parity.outputs"
    }


def test_int8_against_uint8_fails(project: Project) -> None:
    """An output with the same bytes as the reference but another dtype fails."""
    _integers(project)
    expected = np.clip(samples()["x"], -1, 1).astype(np.int8)
    _reference(project, codes=expected.view(np.uint8))
    ran = project.run(*PARITY)
    assert ran.verdict("parity.outputs") == "failed", ran.out
    np.savez(project.root / "outputs.npz", codes=expected)
    assert project.run(*PARITY).verdict("parity.outputs") == "passed"


def _integers(project: Project) -> None:
    nodes = [helper.make_node("Cast", ["x"], ["codes"], to=TensorProto.INT8, name="codes")]
    x = helper.make_tensor_value_info("x", TensorProto.FLOAT, ["batch", FEATURES])
    codes = helper.make_tensor_value_info("codes", TensorProto.INT8, ["batch", FEATURES])
    graph = helper.make_graph(nodes, "codes", [x], [codes])
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 13)], ir_version=7)
    onnx.save(model, project.root / "toy.onnx")
    clipped = np.clip(samples()["x"], -1, 1)
    np.savez(project.root / "validation.npz", x=clipped)
    project.edit('task = "classification"\n', "")


def test_an_extra_output_that_is_nan_fails(project: Project) -> None:
    """What the reference does not have is no detail, least of all a NaN."""
    toy(project.root / "toy.onnx", extra="extra")
    _reference(project, scores=_scores())
    ran = project.run(*PARITY)
    assert ran.code == FAILED
    assert ran.verdict("parity.outputs") == "failed"
    assert "extra" in ran.check("parity.outputs")["reason"]


def test_nan_where_the_reference_is_finite_fails(project: Project) -> None:
    """A NaN counts as a difference, although it compares false with every number."""
    toy(project.root / "toy.onnx", extra="extra")
    _reference(project, scores=_scores(), extra=np.zeros((SAMPLES, FEATURES), np.float32))
    ran = project.run(*PARITY)
    assert ran.verdict("parity.outputs") == "failed", ran.out


def test_a_validation_set_of_zero_samples_is_the_users_mistake(project: Project) -> None:
    """Nothing to compare is not nothing wrong."""
    save(project.root / "validation.npz", samples(0))
    ran = project.run(*SUITES)
    assert ran.code == USER
    assert "zero samples" in ran.out


@pytest.mark.parametrize(
    "selection",
    [
        ("-k", "not latency"),
        ("--deselect", "own/test_latency.py"),
        ("--hil-model=toy", "-k", "signature"),
        ("-m", "not hil"),
    ],
)
def test_a_required_row_that_was_deselected_fails(project: Project, selection: tuple[str, ...]) -> None:
    """Selecting tests does not change the plan."""
    _own_suites(project)
    project.require("contract.*", "latency.p99")
    ran = project.run("own/test_contract.py", "own/test_latency.py", *selection)
    assert ran.code == FAILED, ran.out
    assert ran.report is not None
    assert ran.report["decision"] == "FAILED"
    assert ran.check("latency.p99")["cause"] == "deselected"


def _own_suites(project: Project) -> None:
    shutil.copytree(Path(next(iter(hil.suites.__path__))).resolve(), project.root / "own")


def test_a_node_id_leaves_the_rest_planned(project: Project) -> None:
    """One test chosen by its node id judges one row; the others are not run."""
    _own_suites(project)
    ran = project.run("own/test_parity.py::test_outputs[toy-fp32]")
    assert ran.code == FAILED, ran.out
    assert ran.verdict("parity.outputs") == "passed"
    assert ran.check("latency.p99")["cause"] == "not_collected"


def test_last_failed_leaves_the_rest_planned(project: Project) -> None:
    """``--lf`` runs what failed before; the green rest of last time is not carried over."""
    project.require("contract.*", "latency.p99")
    project.edit('p99 = "5 s"', 'p99 = "1 ns"')
    selected = (*SUITES, "-p", "cacheprovider", "-k", "contract or p99")
    first = project.run(*selected)
    assert first.code == FAILED, first.out
    project.edit('p99 = "1 ns"', 'p99 = "5 s"')
    second = project.run(*selected, "--lf")
    assert second.code == FAILED, second.out
    assert second.verdict("latency.p99") == "passed"
    assert second.verdict("contract.signature") == "not_run"


def test_a_deleted_test_file_fails(project: Project) -> None:
    """A row without a test is not run."""
    _own_suites(project)
    (project.root / "own" / "test_latency.py").unlink()
    project.require("contract.*", "latency.p99")
    ran = project.run("own", "-k", "contract")
    assert ran.code == FAILED, ran.out
    assert ran.check("latency.p99")["cause"] == "not_collected"


def test_a_limit_deleted_from_the_config_fails(project: Project) -> None:
    """What the policy requires by name and nothing limits cannot pass."""
    project.edit('latency = { p99 = "5 s" }\n', "")
    project.require("contract.*", "latency.p99")
    ran = project.run(*SUITES, "-k", "contract or p99")
    assert ran.code == FAILED, ran.out
    assert ran.check("latency.p99")["cause"] == "no_limit"


def test_without_asserts_it_judges_the_same(project: Project) -> None:
    """Checks fail under ``python -O`` and ``--assert=plain`` too, because verdicts are raised, not asserted."""
    project.edit('p99 = "5 s"', 'p99 = "1 ns"')
    project.require("latency.p99")
    ran = project.run(*SUITES, "-k", "p99", "--assert=plain", python=("-O",))
    assert ran.code == FAILED, ran.out
    assert ran.verdict("latency.p99") == "failed"


def test_of_reruns_the_worst_attempt_counts(project: Project) -> None:
    """A check that failed once stays failed after reruns."""
    project.own_check()
    (project.root / "test_own.py").write_text(
        "import pathlib\n"
        "def test_own(hil_check):\n"
        "    mark = pathlib.Path('tried')\n"
        "    value = 0.0 if mark.exists() else 9.0\n"
        "    mark.touch()\n"
        "    hil_check.at_most('grasp.error', value, '2 mm')\n"
    )
    ran = project.run("test_own.py", "--reruns", "2")
    assert ran.code == FAILED, ran.out
    assert ran.verdict("grasp.error", "") == "failed"


def test_a_users_fixture_of_the_same_name_gives_no_verdict(project: Project) -> None:
    """A conftest that replaces ``hil_check`` silences the test, and silence is not green."""
    _own_suites(project)
    (project.root / "conftest.py").write_text(
        "import pytest\n"
        "class Fake:\n"
        "    def judge(self): pass\n"
        "@pytest.fixture\n"
        "def hil_check(hil_case): return Fake()\n"
        "@pytest.fixture\n"
        "def target(): return 'mine'\n"
        "@pytest.fixture\n"
        "def engine(): return 'mine'\n"
    )
    ran = project.run("own")
    assert ran.code == FAILED, ran.out
    assert {c["cause"] for c in (ran.report or {})["checks"]} == {"no_result"}


def test_a_users_own_check_without_a_result_fails(project: Project) -> None:
    """Who asks for ``hil_check`` owes a verdict."""
    project.require("contract.*")
    (project.root / "test_own.py").write_text("def test_silent(hil_check): pass\n")
    ran = project.run(*SUITES, "test_own.py", "-k", "contract or silent")
    assert ran.code == FAILED, ran.out
    assert "gave no result" in ran.out


def test_a_users_own_check_cannot_take_a_stock_row(project: Project) -> None:
    """``hil_check.at_most("latency.p99", …)`` would forge a measurement."""
    (project.root / "test_own.py").write_text("def test_it(hil_check): hil_check.at_most('latency.p99', 0.0, '1 s')\n")
    ran = project.run(*SUITES, "test_own.py", "-k", "contract or test_it")
    assert ran.code == USER, ran.out
    assert "belongs to the stock suites" in ran.out


@pytest.mark.parametrize("mark", ["xfail", "skip"])
def test_xfail_and_skip_change_no_verdict(project: Project, mark: str) -> None:
    """Pytest's own marks say what is expected, not what was measured."""
    project.edit('p99 = "5 s"', 'p99 = "1 ns"')
    project.require("latency.p99")
    (project.root / "conftest.py").write_text(
        "import pytest\n"
        "def pytest_collection_modifyitems(items):\n"
        "    for item in items:\n"
        f"        item.add_marker(pytest.mark.{mark}(reason='not today'))\n"
    )
    ran = project.run(*SUITES, "-k", "p99", "--rootdir=.", "-p", "conftest")
    assert ran.code == FAILED, ran.out
    assert ran.verdict("latency.p99") == ("failed" if mark == "xfail" else "not_run")


def test_an_xdist_worker_that_crashes_fails_its_rows(project: Project) -> None:
    """The verdicts of a lost worker process are lost too, and its rows do not pass."""
    (project.root / "conftest.py").write_text(
        "import os, pytest\n"
        "@pytest.hookimpl(tryfirst=True)\n"
        "def pytest_runtest_call(item):\n"
        "    if 'test_p99' in item.nodeid: os._exit(9)\n"
    )
    project.require("contract.*", "latency.p99")
    ran = project.run(*SUITES, "-k", "contract or p99", "-n", "2", "-p", "conftest")
    assert ran.code == FAILED, ran.out
    assert ran.check("latency.p99")["cause"] == "crashed"


def test_two_xdist_workers_judge_the_same(project: Project) -> None:
    """``-n 2`` changes who asks, not what is planned or decided."""
    ran = project.run(*SUITES, "-n", "2")
    assert ran.code == 0, ran.out
    assert ran.report is not None
    assert ran.report["totals"]["planned"] == ran.report["totals"]["passed"]


@pytest.mark.parametrize("gate", [(), ("--hil-gate",)])
def test_a_fallback_is_never_green(project: Project, gate: tuple[str, ...]) -> None:
    """A board was asked for and the CPU used: exit code 10, with and without the gate."""
    text = (project.root / "hil.toml").read_text()
    board = '[targets.orin]\nkind = "ssh"\nhost = "orin.example"\nruntime = "tensorrt"\n'
    (project.root / "hil.toml").write_text(text + board)
    project.require("contract.*", "parity.outputs", "latency.p99")
    some = (*SUITES, "-k", "contract or outputs or p99", "--target=orin", *gate)
    ran = project.run(*some)
    assert ran.code == int(ExitCode.OTHER_TARGET), ran.out
    assert ran.report is not None
    assert ran.report["decision"] == "FAILED"
    assert ran.check("latency.p99")["cause"] == "fallback"
    assert ran.check("parity.outputs")["evidence"] == "cpu-fallback"
    assert project.hil("gate", "report/report.json").code == int(ExitCode.OTHER_TARGET)
    assert project.run(*some, "--hil-fallback=skip").code == int(ExitCode.OTHER_TARGET)
    assert project.run(*some, "--hil-fallback=fail").code == int(ExitCode.LAB_ERROR)


def test_an_edited_report_is_refused(project: Project) -> None:
    """A verdict, a total or the schema version changed by hand does not get past the gate."""
    project.require("contract.*")
    assert project.run(*SUITES, "-k", "contract").code == 0
    path = project.root / "report" / "report.json"
    whole = json.loads(path.read_text())

    def gate(**changes: Any) -> int:
        path.write_text(json.dumps({**whole, **changes}))
        return project.hil("gate", "report/report.json").code

    assert gate() == 0
    checks = [dict(check) for check in whole["checks"]]
    checks[0]["verdict"] = "failed"
    assert gate(checks=checks) != 0
    assert gate(totals={**whole["totals"], "planned": whole["totals"]["planned"] + 1}) != 0
    assert gate(checks=whole["checks"][1:]) != 0
    assert gate(schema_version=2) != 0
    assert gate(decision="WARNED") != 0
