"""What pytest's users expect of any plugin holds for this one."""

from __future__ import annotations

import hashlib
import json

import pytest

from tests.plugins.project import SUITES, Project


def test_ids_name_model_and_precision(project: Project) -> None:
    """``--collect-only`` lists ``test_parity.py::test_outputs[toy-fp32]`` and writes no report."""
    ran = project.run(*SUITES, "--collect-only", "-q")
    assert ran.code == 0, ran.out
    assert "test_parity.py::test_outputs[toy-fp32]" in ran.out
    assert ran.report is None


def test_a_project_that_forbids_empty_parameter_sets_runs(project: Project) -> None:
    """Stock tests that no model asks for are dropped, whatever the project's pytest does with empty parameter sets."""
    ran = project.run(*SUITES, "-o", "empty_parameter_set_mark=fail_at_collect", "--collect-only", "-q")
    assert ran.code == 0, ran.out
    assert "test_parity.py::test_outputs[toy-fp32]" in ran.out
    assert "test_paced.py" not in ran.out


def test_a_run_without_hil_leaves_no_trace(project: Project) -> None:
    """A project with a ``hil.toml`` and ordinary tests runs them as ever."""
    (project.root / "test_plain.py").write_text("def test_plain(): pass\n")
    ran = project.run("test_plain.py")
    assert ran.code == 0, ran.out
    assert ran.report is None
    assert "hil" not in ran.out.split("plugins:")[1].split("\n", 1)[1]


@pytest.mark.parametrize("processes", [(), ("-n", "2")], ids=["alone", "xdist"])
def test_a_target_alone_runs_the_stock_suites(project: Project, processes: tuple[str, ...]) -> None:
    """``pytest --target=NAME`` is the whole job: the stock suites and the project's own tests, each once."""
    (project.root / "test_own.py").write_text("def test_own(): pass\n")
    ran = project.run("--target=cpu", "-k", "signature or own", *processes)
    assert "2 passed" in ran.out, ran.out
    assert ran.verdict("contract.signature") == "passed"


def test_a_test_that_is_named_runs_alone(project: Project) -> None:
    """Who names tests gets those, and the accounts say what is missing."""
    (project.root / "test_own.py").write_text("def test_own(): pass\n")
    ran = project.run("test_own.py", "--target=cpu")
    assert "1 passed" in ran.out, ran.out
    assert ran.check("contract.signature")["cause"] == "not_collected"


def test_another_plugins_target_option_is_left_alone(project: Project) -> None:
    """``--target`` is common; whoever had it first keeps it, and ``--hil-target`` does the same."""
    (project.root / "conftest.py").write_text(
        "def pytest_addoption(parser): parser.addoption('--target', dest='theirs', default='x')\n"
        "def pytest_report_header(config): return 'theirs: ' + config.getoption('theirs')\n"
    )
    (project.root / "test_plain.py").write_text("def test_plain(): pass\n")
    ran = project.run("test_plain.py", "--target=esp32")
    assert ran.code == 0, ran.out
    assert "theirs: esp32" in ran.out
    ran = project.run(*SUITES, "--hil-target=nowhere")
    assert ran.code == 4, ran.out
    assert "unknown target 'nowhere'" in ran.out


@pytest.mark.parametrize(
    "plugins", [["terminal"], ["capture"], ["junitxml", "xdist", "rerunfailures", "cacheprovider", "skipping"]]
)
def test_it_does_without_other_plugins(project: Project, plugins: list[str]) -> None:
    """``-p no:…`` of anything but the plugin itself changes no verdict."""
    ran = project.run(*SUITES, *(f"-pno:{plugin}" for plugin in plugins), "-k", "contract")
    assert ran.verdict("contract.signature") == "passed", ran.out
    assert ran.code == 1  # the rest was deselected


def test_junit_carries_the_verdicts(project: Project) -> None:
    """With a target named, ``report/junit.xml`` is written, and each verdict is a property in it."""
    project.run(*SUITES, "--target=cpu", "-k", "contract")
    text = (project.root / "report" / "junit.xml").read_text()
    assert 'name="hil contract.signature toy fp32" value="passed"' in text


def test_stopping_at_the_first_failure_stops(project: Project) -> None:
    """``-x`` ends the run; what was not reached is not run because the run stopped."""
    project.edit('memory = "4 GiB"', 'memory = "1 KiB"')
    ran = project.run(*SUITES, "-x")
    assert ran.code == 1, ran.out
    assert ran.verdict("memory.peak") == "failed"
    causes = {check["cause"] for check in (ran.report or {})["checks"] if check["verdict"] == "not_run"}
    assert causes == {"stopped"}, ran.out


def test_fixtures_serve_a_users_own_test(project: Project) -> None:
    """Engine, reference, data and target come by name, once for each model and precision."""
    (project.root / "test_own.py").write_text(
        "import numpy as np\n"
        "def test_error(hil_check, hil_engine, hil_dataset, hil_reference, hil_target):\n"
        "    assert hil_target.used == 'cpu'\n"
        "    worst = 0.0\n"
        "    for batch, reference in zip(hil_dataset.batches(1), hil_reference.batches(1)):\n"
        "        got = hil_engine.run(batch.inputs)\n"
        "        worst = max(worst, float(np.abs(got['scores'] - dict(reference)['scores']).max()))\n"
        "    hil_check.at_most('scores.error', worst, '0.01')\n"
    )
    project.require("scores.error")
    ran = project.run("test_own.py")
    assert ran.code == 0, ran.out
    assert "test_own.py::test_error[toy-fp32]" in project.run("test_own.py", "--collect-only", "-q").out
    assert ran.verdict("scores.error") == "passed"
    assert ran.check("scores.error")["measurement"]["unit"] == ""


@pytest.mark.parametrize(
    ("arguments", "built"),
    [
        (("-k", "signature"), {"fp32": "fresh", "int8": "kept"}),
        (("-k", "signature and fp32"), {"fp32": "fresh"}),
        (("-k", "signature", "-n", "1"), {"fp32": "fresh", "int8": "fresh"}),
    ],
)
def test_the_engines_of_the_selected_tests_are_built_first(
    project: Project, arguments: tuple[str, ...], built: dict[str, str]
) -> None:
    """In one process on the target, and no others; workers of xdist, which share the tests, build apart."""
    project.edit('precisions = ["fp32"]', 'precisions = ["fp32", "int8"]')
    project.toml.write_text(project.toml.read_text() + '\n[models.toy.calibration]\ndata = "synthetic"\n')
    project.run(*SUITES, *arguments)
    records = [json.loads(file.read_text()) for file in project.root.glob("cache/**/engines/*.json")]
    assert {one["facts"]["precision"]: one["about"]["process"] for one in records} == built


def test_a_missing_config_is_one_message(project: Project) -> None:
    """No ``hil.toml``: exit code 4, what to do, no traceback."""
    (project.root / "hil.toml").unlink()
    for extra in (("--target=cpu",), ()):
        ran = project.run(*SUITES, *extra)
        assert ran.code == 4, ran.out
        assert ran.out.count("no hil.toml") == 1
        assert "hil init" in ran.out
        assert "Traceback" not in ran.out


def test_a_missed_limit_names_the_slowest_nodes(project: Project) -> None:
    """Where a latency limit is missed, the runtime's own profile says which nodes took the time."""
    project.edit('p99 = "5 s"', 'p99 = "1 ns"')
    check = project.run(*SUITES, "-k", "p99").check("latency.p99")
    assert check["verdict"] == "failed"
    assert "slowest nodes: scores (Gemm)" in check["reason"]
    assert check["details"]["slowest_nodes"][0]["op"] == "Gemm"


def test_markers_narrow_a_users_test(project: Project) -> None:
    """``hil_models`` and ``hil_precisions`` choose among what ``hil.toml`` has."""
    (project.root / "test_own.py").write_text(
        "import pytest\n"
        "@pytest.mark.hil_models('toy')\n"
        "@pytest.mark.hil_precisions('fp32')\n"
        "def test_one(hil_engine): pass\n"
        "@pytest.mark.hil_precisions('int8')\n"
        "def test_none(hil_engine): pass\n"
    )
    out = project.run("test_own.py", "--collect-only", "-q", "--strict-markers").out
    assert "test_one[toy-fp32]" in out
    assert "test_none" not in out


def test_the_engine_that_was_judged_comes_home(project: Project) -> None:
    """Its copy beside the report has the digest that every row names."""
    ran = project.run(*SUITES, "-k", "contract")
    assert ran.report is not None
    (engine,) = ran.report["engines"]
    data = (project.root / "report" / engine["file"]).read_bytes()
    assert hashlib.sha256(data).hexdigest() == engine["digest"] == ran.check("contract.signature")["engine"]
