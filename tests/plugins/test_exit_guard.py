"""No run passes after a hook that ends pytest, with an option that only lists, or by a retry."""

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
DROP = "import pytest\n{}\ndef pytest_collection_modifyitems(items): items.clear()\n"
HOOKS = {
    "status, last": "@pytest.hookimpl(trylast=True)\ndef pytest_sessionfinish(session): session.exitstatus = 0",
    "status, wrapper": (
        "@pytest.hookimpl(wrapper=True)\ndef pytest_sessionfinish(session):\n    yield\n    session.exitstatus = 0"
    ),
    "exit at the end": "def pytest_sessionfinish(): pytest.exit('done', returncode=0)",
    "exit at the start": "def pytest_sessionstart(): pytest.exit('done', returncode=0)",
    "exit in configure": "def pytest_configure(): pytest.exit('done', returncode=0)",
    "no session": "@pytest.hookimpl(tryfirst=True)\ndef pytest_cmdline_main(): return 0",
}
"""Ways to set exit code 0 without ``SystemExit``. Each is tried in a run that fails because its tests are dropped."""
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
"""Repeats a failed test and reports only the last attempt, as ``flaky`` does."""


def test_system_exit_is_never_green(project: Project) -> None:
    """If a hook, fixture or module calls ``sys.exit(0)`` or sets status 0, neither exit code nor report is a pass."""
    project.add_own_check()
    project.write_passed_report()
    runs = {name: {"conftest.py": f"import sys, pytest\n{text}\n"} for name, text in EXITS.items()}
    runs |= {"nested conftest": {"tests/conftest.py": EXITS["conftest"].join(("import sys\n", "\n"))}}
    runs |= {"module": {"test_exit.py": "import sys\nsys.exit(0)\n"}, "nothing": {}}
    runs |= {name: {"conftest.py": DROP.format(text)} for name, text in HOOKS.items()}
    codes, reports, out = run_each(project, runs, ".", "--target=cpu")
    assert (codes.pop("nothing"), reports.pop("nothing")) == (0, ("complete", "PASSED")), out
    assert {name: code for name, code in codes.items() if not isinstance(code, int) or code == 0} == {}, out
    assert {name: codes[name] for name in HOOKS} == dict.fromkeys(HOOKS, FAILED), out
    assert {name: report for name, report in reports.items() if "PASSED" in report} == {}, out


def test_a_gate_on_a_listing_is_refused(project: Project) -> None:
    """Under ``--hil-gate`` an option that lists instead of running gives exit code 4 and an incomplete report."""
    project.add_own_check()
    project.write_passed_report()
    spelled = {"showfixtures": "fixtures", "cacheshow": "cache-show", "collectonly": "collect-only"}
    options = [spelled.get(name, name).replace("_", "-").removeprefix("show-") for name in LISTINGS]
    runs = {option: {"pytest.ini": f"[pytest]\naddopts = --{option}\n"} for option in options}
    codes, reports, out = run_each(project, runs, "test_own.py", "--hil-gate", "-p", "cacheprovider")
    assert codes == dict.fromkeys(options, USER), out
    assert reports == dict.fromkeys(options, ("incomplete", None)), out
    assert all(f"but --{option} runs no test" in out for option in options), out
    project.write_passed_report()
    project.env["PYTEST_ADDOPTS"] = "--collect-only"
    ran = project.run("test_own.py", "--hil-gate")
    assert (ran.code, (ran.report or {})["status"]) == (USER, "incomplete"), ran.out


def test_an_attempt_that_a_retry_hides_counts(project: Project) -> None:
    """If a plugin repeats a test and reports only the last attempt, the worst result still counts."""
    project.add_own_check()
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
    """An xdist worker that exits before it sends its observations fails the run: a lost target may be among them."""
    project.add_own_check()
    (project.root / "conftest.py").write_text(
        "import sys\ndef pytest_sessionfinish(session):\n    if hasattr(session.config, 'workerinput'): sys.exit(0)\n"
    )
    ran = project.run("test_own.py", "--target=cpu", "-n", "1")
    assert (ran.code, (ran.report or {})["decision"]) == (FAILED, "FAILED"), ran.out
    assert "worker gw0 ended early" in ran.out
