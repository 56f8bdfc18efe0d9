"""Ways in which a run could pass by accident, through the real command line: none of them passes."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import hil.suites
from hil.errors import ExitCode
from tests.plugins.project import CLASSES, FEATURES, SAMPLES, SUITES, Project, samples, save, toy

FAILED, USER = int(ExitCode.FAILED), int(ExitCode.USER_ERROR)


def _scores() -> np.ndarray[Any, Any]:
    weights = np.random.default_rng(7).normal(size=(FEATURES, CLASSES)).astype(np.float32)
    return np.asarray(samples(SAMPLES)["x"] @ weights)


def _copy_suites(project: Project) -> None:
    """Copy the stock suites to ``own``."""
    shutil.copytree(Path(next(iter(hil.suites.__path__))).resolve(), project.root / "own")


def test_the_healthy_project_passes(project: Project) -> None:
    """The healthy project passes; otherwise the other tests would prove nothing."""
    project.keep_history()
    ran = project.run(*SUITES, "--target=cpu", "--hil-gate")
    assert ran.code == 0, ran.out
    assert ran.report is not None
    assert ran.report["decision"] == "PASSED"
    assert ran.report["totals"]["planned"] == ran.report["totals"]["passed"]
    assert project.hil("gate", "report/report.json").code == 0


def test_a_reference_that_differs_fails(project: Project) -> None:
    """Correct saved outputs pass; an engine with one more output, all NaN, fails."""
    toy(project.root / "extra.onnx", extra="extra")
    references = {
        "toy": ("toy.onnx", _scores()),
        "extra_output": ("extra.onnx", _scores()),
    }
    head, toy_table = project.toml.read_text().split("[models.toy]")
    limits = toy_table[toy_table.index("[models.toy.limits]") :]
    models = ""
    for name, (model, scores) in references.items():
        save(project.root / f"{name}.npz", {"scores": scores})
        models += f'[models.{name}]\npath = "{model}"\ndata = "validation.npz"\n'
        models += f'reference = "{name}.npz"\nprecisions = ["fp32"]\n'
    project.toml.write_text(head + models + limits)
    ran = project.run(*SUITES, "-k", "test_outputs")
    assert ran.code == FAILED, ran.out
    assert ran.report is not None
    rows = {row["model"]: row for row in ran.report["checks"] if row["id"] == "parity.outputs"}
    verdicts = {name: row["verdict"] for name, row in rows.items()}
    assert verdicts == {**dict.fromkeys(references, "failed"), "toy": "passed"}, ran.out
    assert "extra" in rows["extra_output"]["reason"]


def test_a_validation_set_of_zero_samples_is_the_users_mistake(project: Project) -> None:
    """Validation data without samples is a user error."""
    save(project.root / "validation.npz", samples(0))
    ran = project.run(*SUITES)
    assert ran.code == USER
    assert "zero samples" in ran.out


@pytest.mark.parametrize(
    "selection",
    [
        ("-k", "not latency and not contract"),
        ("--deselect", "own/test_latency.py", "-k", "not contract"),
        ("--hil-model=toy", "-k", "plain"),
        ("-m", "not hil"),
    ],
    ids=["keyword", "deselect", "model", "marker"],
)
def test_a_required_row_that_was_deselected_fails(project: Project, selection: tuple[str, ...]) -> None:
    """A required row whose test was deselected fails the run, although every selected test passes."""
    _copy_suites(project)
    project.add_plain_test()
    project.require("contract.*", "latency.p99")
    ran = project.run("test_plain.py", "own/test_contract.py", "own/test_latency.py", *selection)
    assert "1 passed" in ran.out, ran.out
    assert ran.code == FAILED, ran.out
    assert ran.report is not None
    assert ran.report["decision"] == "FAILED"
    assert ran.check("latency.p99")["cause"] == "deselected"


def test_a_node_id_leaves_the_rest_planned(project: Project) -> None:
    """A test selected by its node id judges its row; the other required rows are not run."""
    _copy_suites(project)
    ran = project.run("own/test_contract.py::test_signature[toy-fp32]")
    assert ran.code == FAILED, ran.out
    assert ran.verdict("contract.signature") == "passed"
    assert ran.check("latency.p99")["cause"] == "not_collected"


def test_last_failed_leaves_the_rest_planned(project: Project) -> None:
    """Under ``--lf``, checks that passed in the run before are not run, and the run fails."""
    project.require("grasp.error", "carry.mass")
    text = (
        "def test_grasp(hil_check): hil_check.at_most('grasp.error', 9.0, '2 mm')\n"
        "def test_carry(hil_check): hil_check.at_most('carry.mass', 1.0, '2 kg')\n"
    )
    path = project.root / "test_own.py"
    path.write_text(text)
    first = project.run("test_own.py", "-p", "cacheprovider")
    assert (first.code, first.verdict("carry.mass", "")) == (FAILED, "passed"), first.out
    path.write_text(text.replace("9.0", "1.0"))
    second = project.run("test_own.py", "-p", "cacheprovider", "--lf")
    assert (second.code, second.verdict("grasp.error", "")) == (FAILED, "passed"), second.out
    assert second.report is not None
    assert [c["id"] for c in second.report["checks"] if c["verdict"] == "passed"] == ["grasp.error"]


def test_a_row_without_test_or_limit_fails(project: Project) -> None:
    """A required row whose test file was deleted, or whose limit was deleted from ``hil.toml``, fails the run."""
    _copy_suites(project)
    (project.root / "own" / "test_latency.py").unlink()
    project.add_plain_test()
    project.require("contract.*", "latency.p99")
    ran = project.run("own", "test_plain.py", "-k", "plain")
    assert (ran.code, ran.check("latency.p99")["cause"]) == (FAILED, "not_collected"), ran.out
    assert "1 passed" in ran.out, ran.out
    project.edit('latency = { p99 = "5 s" }\n', "")
    ran = project.run(*SUITES, "-k", "p99")
    assert (ran.code, ran.check("latency.p99")["cause"]) == (FAILED, "no_limit"), ran.out


def test_without_asserts_it_judges_the_same(project: Project) -> None:
    """Checks fail under ``python -O`` and ``--assert=plain`` too, because verdicts are raised, not asserted."""
    project.add_own_check(value=9.0)
    ran = project.run("test_own.py", "--assert=plain", python=("-O",))
    assert ran.code == FAILED, ran.out
    assert ran.verdict("grasp.error", "") == "failed"


def test_of_reruns_the_worst_attempt_counts(project: Project) -> None:
    """A check that failed once stays failed after reruns."""
    project.add_own_check()
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
    """If a conftest replaces ``hil_check``, no test judges anything and the run fails."""
    _copy_suites(project)
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
    """A test that requests ``hil_check`` and judges nothing fails the run."""
    project.add_own_check()
    (project.root / "test_silent.py").write_text("def test_silent(hil_check): pass\n")
    ran = project.run("test_own.py", "test_silent.py")
    assert (ran.code, ran.verdict("grasp.error", "")) == (FAILED, "passed"), ran.out
    assert "gave no result" in ran.out


def test_a_users_own_check_cannot_take_a_stock_row(project: Project) -> None:
    """``hil_check.at_most("latency.p99", …)`` is a user error: it would forge a measurement."""
    (project.root / "test_own.py").write_text("def test_it(hil_check): hil_check.at_most('latency.p99', 0.0, '1 s')\n")
    ran = project.run("test_own.py")
    assert ran.code == USER, ran.out
    assert "belongs to the stock suites" in ran.out


def test_xfail_and_skip_change_no_verdict(project: Project) -> None:
    """A failed check fails the run under ``xfail``, and a skipped one is not run."""
    project.add_own_check("latency.p99", value=9.0)
    (project.root / "conftest.py").write_text(
        "import pytest\n"
        "def pytest_collection_modifyitems(items):\n"
        "    for item in items:\n"
        "        mark = 'xfail' if 'own' in item.name else 'skip'\n"
        "        item.add_marker(getattr(pytest.mark, mark)(reason='not today'))\n"
    )
    ran = project.run(*SUITES, "test_own.py", "-k", "p99 or own", "--rootdir=.", "-p", "conftest")
    assert "1 skipped, " in ran.out, ran.out
    assert "1 xfailed" in ran.out, ran.out
    assert ran.code == FAILED, ran.out
    assert (ran.verdict("grasp.error", ""), ran.verdict("latency.p99")) == ("failed", "not_run")


def test_an_xdist_worker_that_crashes_fails_its_rows(project: Project) -> None:
    """The row whose test crashed an xdist worker is not run, and the run fails."""
    (project.root / "conftest.py").write_text(
        "import os, pytest\n"
        "@pytest.hookimpl(tryfirst=True)\n"
        "def pytest_runtest_call(item):\n"
        "    if 'test_p99' in item.nodeid: os._exit(9)\n"
    )
    project.require("latency.p99")
    project.add_plain_test()
    ran = project.run(*SUITES, "test_plain.py", "-k", "plain or p99", "-n", "1", "-p", "conftest")
    assert ran.code == FAILED, ran.out
    assert "1 passed" in ran.out, ran.out
    assert ran.check("latency.p99")["cause"] == "crashed"


def test_a_fallback_is_never_green(project: Project) -> None:
    """If the CPU replaced the requested board, the exit code is 10, with and without the gate."""
    project.toml.write_text(
        f'{project.toml.read_text()}[targets.orin]\nkind = "ssh"\nhost = "orin.example"\nruntime = "tensorrt"\n'
    )
    project.add_own_check("parity.outputs", "latency.p99")
    other, lab = int(ExitCode.OTHER_TARGET), int(ExitCode.LAB_ERROR)
    own = ("test_own.py", "--target=orin")
    ran = project.run(*SUITES, *own, "-k", "own or outputs or p99")
    assert ran.code == other, ran.out
    assert ran.report is not None
    assert ran.report["decision"] == "FAILED"
    assert ran.check("latency.p99")["cause"] == "fallback"
    assert ran.check("parity.outputs")["evidence"] == "cpu-fallback"
    assert project.hil("gate", "report/report.json").code == other
    project.edit(', "parity.outputs", "latency.p99"', "")
    assert project.run(*own, "--hil-gate").code == other
    assert project.run(*own, "--hil-fallback=skip").code == other
    assert project.run(*own, "--hil-fallback=fail").code == lab


def test_an_edited_report_is_refused(project: Project) -> None:
    """The gate refuses a report whose verdict, total, rows, decision or schema version was changed by hand."""
    project.add_own_check()
    assert project.run("test_own.py").code == 0
    path = project.root / "report" / "report.json"
    whole = json.loads(path.read_text())

    def gate(**changes: Any) -> int:
        path.write_text(json.dumps({**whole, **changes}))
        return project.hil("gate", "report/report.json").code

    assert gate() == 0
    checks = [dict(check) for check in whole["checks"]]
    next(check for check in checks if check["id"] == "grasp.error")["verdict"] = "failed"
    assert gate(checks=checks) != 0
    assert gate(totals={**whole["totals"], "planned": whole["totals"]["planned"] + 1}) != 0
    assert gate(checks=whole["checks"][1:]) != 0
    assert gate(schema_version=2) != 0
    assert gate(decision="WARNED") != 0
