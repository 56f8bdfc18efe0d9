"""Hooks that end pytest, options that show instead of run, attempts that a retry hides: none of it is green."""

from __future__ import annotations

from typing import TYPE_CHECKING

from hil.errors import ExitCode
from hil.plugins.activation import LISTINGS
from tests.plugins.sequence import run_each

if TYPE_CHECKING:
    from tests.plugins.project import Project

USER, FAILED = int(ExitCode.USER_ERROR), int(ExitCode.FAILED)
OUTER = "@pytest.hookimpl(wrapper=True, tryfirst=True)\ndef pytest_cmdline_main(): {}"
EXITS = {
    "conftest": "sys.exit(0)",
    "configure": "def pytest_configure(): sys.exit(0)",
    "sessionstart": "def pytest_sessionstart(): sys.exit(0)",
    "collection": "def pytest_collection_modifyitems(): sys.exit(0)",
    "fixture": "@pytest.fixture(autouse=True)\ndef end(): sys.exit(0)",
    "sessionfinish": "def pytest_sessionfinish(): sys.exit(0)",
    "terminal_summary": "def pytest_terminal_summary(): sys.exit()",
    "unconfigure": "def pytest_unconfigure(): sys.exit(0)",
    "unconfigure, the last": "@pytest.hookimpl(trylast=True)\ndef pytest_unconfigure(): sys.exit(0)",
    "cleanup": "def pytest_configure(config):\n    for _ in range(2): config.add_cleanup(sys.exit)",
    "outer wrapper, before": OUTER.format("sys.exit(0); yield"),
    "outer wrapper, after": OUTER.format("yield; sys.exit(0)"),
}
RETRY = """
from _pytest import runner

def pytest_runtest_protocol(item, nextitem):
    reports = runner.runtestprotocol(item, nextitem=nextitem, log=False)
    if any(report.failed for report in reports):
        item._initrequest()
        reports = runner.runtestprotocol(item, nextitem=nextitem, log=False)
    for report in reports:
        item.ihook.pytest_runtest_logreport(report=report)
    return True
"""
"""Of a failed attempt nobody learns anything: so do ``flaky`` and its like."""


def test_system_exit_is_never_green(project: Project) -> None:
    """Wherever a hook, a fixture or a module calls ``sys.exit(0)``: the exit code is not 0, the report not passed."""
    project.own_check()
    project.green()
    runs = {name: {"conftest.py": f"import sys, pytest\n{text}\n"} for name, text in EXITS.items()}
    runs |= {"nested conftest": {"tests/conftest.py": EXITS["conftest"].join(("import sys\n", "\n"))}}
    runs |= {"module": {"test_exit.py": "import sys\nsys.exit(0)\n"}, "nothing": {}}
    codes, reports, out = run_each(project, runs, ".", "--target=cpu")
    assert (codes.pop("nothing"), reports.pop("nothing")) == (0, ("complete", "PASSED")), out
    assert {name: code for name, code in codes.items() if not isinstance(code, int) or code == 0} == {}, out
    assert {name: report for name, report in reports.items() if "PASSED" in report} == {}, out


def test_a_gate_on_a_listing_is_refused(project: Project) -> None:
    """Options that show and run nothing, from ``addopts`` as from elsewhere: exit code 4, and no report is green."""
    project.own_check()
    project.green()
    spelled = {"showfixtures": "fixtures", "cacheshow": "cache-show", "collectonly": "collect-only"}
    options = [spelled.get(name, name).replace("_", "-").removeprefix("show-") for name in LISTINGS]
    runs = {option: {"pytest.ini": f"[pytest]\naddopts = --{option}\n"} for option in options}
    codes, reports, out = run_each(project, runs, "test_own.py", "--hil-gate", "-p", "cacheprovider")
    assert codes == dict.fromkeys(options, USER), out
    assert reports == dict.fromkeys(options, ("incomplete", None)), out
    assert all(f"and --{option} runs nothing" in out for option in options), out
    project.green()
    project.env["PYTEST_ADDOPTS"] = "--collect-only"
    ran = project.run("test_own.py", "--hil-gate")
    assert (ran.code, (ran.report or {})["status"]) == (USER, "incomplete"), ran.out


def test_an_attempt_that_a_retry_hides_counts(project: Project) -> None:
    """Of several attempts within one protocol the worst counts, though pytest is given the last one's reports alone."""
    project.own_check()
    (project.root / "conftest.py").write_text(RETRY)
    (project.root / "test_own.py").write_text(
        "import itertools\n"
        "values = itertools.chain([9.0], itertools.repeat(0.0))\n"
        "def test_own(hil_check): hil_check.at_most('grasp.error', next(values), '2 mm')\n"
    )
    ran = project.run("test_own.py", "--target=cpu")
    assert "1 passed" in ran.out, ran.out
    assert (ran.code, ran.verdict("grasp.error", "")) == (FAILED, "failed"), ran.out


def test_a_worker_that_exits_fails_the_run(project: Project) -> None:
    """An xdist worker that ends before it hands in its notes takes a lost target or another config with it."""
    project.own_check()
    (project.root / "conftest.py").write_text(
        "import sys\ndef pytest_sessionfinish(session):\n    if hasattr(session.config, 'workerinput'): sys.exit(0)\n"
    )
    ran = project.run("test_own.py", "--target=cpu", "-n", "1")
    assert (ran.code, (ran.report or {})["decision"]) == (FAILED, "FAILED"), ran.out
    assert "worker gw0 ended early" in ran.out
