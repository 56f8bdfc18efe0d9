"""The plugin behaves as users expect of any pytest plugin."""

from __future__ import annotations

import hashlib
import json

import pytest

from tests.plugins.project import SUITES, Project, RunResult, toy


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> tuple[Project, RunResult]:
    """Run ``pytest --target=cpu`` on a project with a plain test; only it and one stock test are selected."""
    project = Project.make(tmp_path_factory.mktemp("whole"))
    project.add_plain_test()
    return project, project.run("--target=cpu", "-k", "signature or plain")


def test_a_target_alone_runs_the_stock_suites(whole: tuple[Project, RunResult]) -> None:
    """``pytest --target=NAME`` runs the stock suites and the project's own tests, each once."""
    _, ran = whole
    assert "2 passed" in ran.out, ran.out
    assert ran.verdict("contract.signature") == "passed"


def test_junit_has_the_verdicts(whole: tuple[Project, RunResult]) -> None:
    """If a target is named, ``report/junit.xml`` is written and has each verdict as a property."""
    text = (whole[0].root / "report" / "junit.xml").read_text()
    assert 'name="hil contract.signature toy fp32" value="passed"' in text


def test_the_judged_engine_is_copied_to_the_report(whole: tuple[Project, RunResult]) -> None:
    """The engine's copy in the report's folder has the digest that its rows name."""
    project, ran = whole
    assert ran.report is not None
    (engine,) = ran.report["engines"]
    data = (project.root / "report" / engine["file"]).read_bytes()
    assert hashlib.sha256(data).hexdigest() == engine["digest"] == ran.check("contract.signature")["engine"]


def test_a_target_under_xdist_runs_the_stock_suites(project: Project) -> None:
    """``pytest --target=NAME -n 1`` runs the stock suites and the project's own tests too, each once."""
    project.add_plain_test()
    ran = project.run("--target=cpu", "-k", "signature or plain", "-n", "1")
    assert "2 passed" in ran.out, ran.out
    assert ran.verdict("contract.signature") == "passed"


def test_collection_lists_the_cases_of_the_config(project: Project) -> None:
    """Test ids have model and precision; a test without a case is dropped, even if pytest would fail such a test."""
    ran = project.run(*SUITES, "-o", "empty_parameter_set_mark=fail_at_collect", "--collect-only", "-q")
    assert ran.code == 0, ran.out
    assert "test_parity.py::test_outputs[toy-fp32]" in ran.out
    assert "test_paced.py" not in ran.out
    assert ran.report is None


def test_a_run_without_hil_leaves_no_trace(project: Project) -> None:
    """Without an option or a test that uses hil, no report is written and no line of hil is shown."""
    project.add_plain_test()
    ran = project.run("test_plain.py")
    assert ran.code == 0, ran.out
    assert ran.report is None
    assert "hil" not in ran.out.split("plugins:")[1].split("\n", 1)[1]


def test_a_test_that_is_named_runs_alone(project: Project) -> None:
    """Only the tests named on the command line run; the other rows are not collected."""
    project.add_plain_test()
    ran = project.run("test_plain.py", "--target=cpu")
    assert "1 passed" in ran.out, ran.out
    assert ran.check("contract.signature")["cause"] == "not_collected"


def test_another_plugins_target_option_is_left_alone(project: Project) -> None:
    """If a conftest defines ``--target``, it keeps the option, and ``--hil-target`` names hil's target."""
    (project.root / "conftest.py").write_text(
        "def pytest_addoption(parser): parser.addoption('--target', dest='theirs', default='x')\n"
        "def pytest_report_header(config): return 'theirs: ' + config.getoption('theirs')\n"
    )
    project.add_plain_test()
    ran = project.run("test_plain.py", "--target=esp32")
    assert ran.code == 0, ran.out
    assert "theirs: esp32" in ran.out
    ran = project.run(*SUITES, "--hil-target=nowhere")
    assert ran.code == 4, ran.out
    assert "unknown target 'nowhere'" in ran.out


@pytest.mark.parametrize(
    "plugins",
    [["terminal"], ["capture", "junitxml", "xdist", "rerunfailures", "cacheprovider", "skipping"]],
    ids=["terminal", "others"],
)
def test_it_does_without_other_plugins(project: Project, plugins: list[str]) -> None:
    """A check passes if pytest's other plugins are disabled."""
    project.require("contract.signature")
    ran = project.run(*SUITES, *(f"-pno:{plugin}" for plugin in plugins), "-k", "signature")
    assert (ran.code, ran.verdict("contract.signature")) == (0, "passed"), ran.out


def test_stopping_at_the_first_failure_stops(project: Project) -> None:
    """``-x`` ends the run at the first failure; the other rows are not run because the run stopped."""
    project.add_own_check(value=9.0)
    ran = project.run("test_own.py", *SUITES, "-x")
    assert ran.code == 1, ran.out
    assert ran.verdict("grasp.error", "") == "failed"
    causes = {check["cause"] for check in (ran.report or {})["checks"] if check["verdict"] == "not_run"}
    assert causes == {"stopped"}, ran.out


def test_fixtures_serve_a_users_own_test(project: Project) -> None:
    """A test that requests engine, reference, data and target gets them, once for each model and precision."""
    (project.root / "test_own.py").write_text(
        "import numpy as np\n"
        "def test_error(hil_check, hil_engine, hil_dataset, hil_reference, hil_target):\n"
        "    assert hil_target.used == 'cpu'\n"
        "    worst = 0.0\n"
        "    for batch, reference in zip(hil_dataset.batches(1), hil_reference.batches(1)):\n"
        "        outputs = hil_engine.run(batch.inputs)\n"
        "        worst = max(worst, float(np.abs(outputs['scores'] - dict(reference)['scores']).max()))\n"
        "    hil_check.at_most('scores.error', worst, '0.01')\n"
    )
    project.require("scores.error")
    ran = project.run("test_own.py", "-v")
    assert ran.code == 0, ran.out
    assert "test_own.py::test_error[toy-fp32]" in ran.out
    assert ran.verdict("scores.error") == "passed"
    assert ran.check("scores.error")["measurement"]["unit"] == ""


@pytest.mark.parametrize(
    ("workers", "processes"),
    [((), ["fresh", "fresh", "kept"]), (("-n", "1"), ["fresh", "fresh", "fresh"])],
    ids=["alone", "xdist"],
)
def test_the_engines_of_the_selected_tests_are_built_first(
    project: Project, workers: tuple[str, ...], processes: list[str]
) -> None:
    """Only engines of selected tests are built: in one process for each model, under xdist in one for each engine."""
    for name in ("arm", "other"):
        toy(project.root / f"{name}.onnx", extra=name)
        with project.toml.open("a") as config:
            config.write(f'[models.{name}]\npath = "{name}.onnx"\ndata = "validation.npz"\nprecisions = ["fp32"]\n')
    project.edit('precisions = ["fp32"]\n\n[models.toy.limits]', 'precisions = ["fp32", "int8"]\n\n[models.toy.limits]')
    project.edit("[measure]", '[models.toy.calibration]\ndata = "synthetic"\n\n[measure]')
    project.run(*SUITES, "-k", "signature and not other", *workers)
    records = [json.loads(file.read_text()) for file in project.root.glob("cache/**/engines/*.json")]
    assert sorted(record["about"]["process"] for record in records) == processes


def test_a_missing_config_is_one_message(project: Project) -> None:
    """Without ``hil.toml`` the exit code is 4, and one message states what to do."""
    (project.root / "hil.toml").unlink()
    for extra in (("--target=cpu",), ()):
        ran = project.run(*SUITES, *extra)
        assert ran.code == 4, ran.out
        assert ran.out.count("no hil.toml") == 1
        assert "hil init" in ran.out
        assert "Traceback" not in ran.out


def test_markers_narrow_a_users_test(project: Project) -> None:
    """``hil_models`` and ``hil_precisions`` select among the models and precisions of ``hil.toml``."""
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
