"""Settings of this project's own tests: Hypothesis, and what a skip means in continuous integration."""

from __future__ import annotations

import os
import re
import shlex
from pathlib import Path

import pytest
from hypothesis import settings

# No deadline: the machine that runs the tests may be busy, and time is what benchmarks/ measure.
# Each run draws new examples, so a few per run are enough over time.
settings.register_profile("hil", deadline=None, print_blob=True, max_examples=40)
settings.load_profile("hil")

# Hundreds of tests start the command line in a new process. Without byte code each process would compile the library
# again, with pytest's assertion rewriting, which takes a third of its time.
os.environ.pop("PYTHONDONTWRITEBYTECODE", None)

ROOT = Path(__file__).parent.parent
# Agents of this host fork their workers; see tests/warm_agent/forks.py.
os.environ["PYTHONPATH"] = os.pathsep.join(
    filter(None, [str(ROOT / "tests/warm_agent"), os.environ.get("PYTHONPATH", "")])
)
ABSENT_INTERPRETER = re.compile(r"python3\.\d+ is not installed")
"""The one missing part that continuous integration accepts: it uses only the interpreters that are installed."""

BUSY = 2.0
"""Waiting and running processes per processor above which a failure may come from a busy machine; tests cause 1."""

_skipped: dict[str, list[str]] = {}
_failed_while_busy: dict[str, float] = {}
_terminal: list[pytest.TerminalReporter] = []


@pytest.fixture(scope="session")
def repository() -> Path:
    """Return the root of this repository."""
    return ROOT


@pytest.fixture
def fresh_workers(monkeypatch: pytest.MonkeyPatch) -> None:
    """Start each worker as a process of its own, as users' agents do: for tests about the processes themselves."""
    monkeypatch.setenv("HIL_TESTS_FRESH_WORKERS", "1")


def pytest_configure(config: pytest.Config) -> None:
    """Make every warning an error. Under ``-n`` an idle worker takes over tests of a busy one."""
    config.addinivalue_line("filterwarnings", "error")
    config.addinivalue_line("markers", "long: takes more than 20 s, so it begins before all others")
    # With "load" the shares are fixed early, and one worker is idle for minutes while another runs the boards' tests.
    if config.getoption("dist", "no") == "load":
        config.option.dist = "worksteal"
    if _in_ci() and config.option.durations is None:
        config.option.durations, config.option.durations_min = 60, 3.0


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Begin with the long tests: an idle worker takes over whole tests, but not the rest of one."""
    items.sort(key=lambda item: "long" not in item.keywords)


def pytest_sessionstart(session: pytest.Session) -> None:
    """Store the terminal reporter for ``pytest_runtest_logreport``, which does not receive the config."""
    _terminal[:] = filter(None, [session.config.pluginmanager.get_plugin("terminalreporter")])


def pytest_runtest_logreport(report: pytest.TestReport) -> None:
    """Record each skipped test under its reason. Under ``HIL_CI=1`` show a failure at once, not only after all tests.

    Under xdist this runs in the controller.
    """
    if report.skipped and not hasattr(report, "wasxfail"):
        _note(report)
    load = os.getloadavg()[0] / (os.cpu_count() or 1)
    if report.failed and load > BUSY:
        _failed_while_busy[report.nodeid] = load
    if report.failed and _in_ci():
        for terminal in _terminal:
            terminal.write_line(f"\nFAILED {report.nodeid} ({report.when})\n{report.longreprtext[-2000:]}", red=True)


def pytest_collectreport(report: pytest.CollectReport) -> None:
    """Record each module that was skipped as a whole."""
    if report.skipped:
        _note(report)


def pytest_sessionfinish(session: pytest.Session) -> None:
    """Fail the run under ``HIL_CI=1`` if a test was skipped for a missing part."""
    if _in_ci() and _missing_parts() and session.exitstatus == pytest.ExitCode.OK:
        session.exitstatus = pytest.ExitCode.TESTS_FAILED


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """List the interpreters that the machine lacks; under ``HIL_CI``, also list other missing parts, as failures.

    Also name the tests that failed while other work kept the machine busy.
    """
    if _failed_while_busy:
        most = max(_failed_while_busy.values())
        what = f"failed while up to {most:.1f} processes a processor ran or waited: run them again on a quiet machine"
        terminalreporter.write_line(f"{len(_failed_while_busy)} tests {what}:", yellow=True)
        for name in _failed_while_busy:
            terminalreporter.write_line(f"    pytest {shlex.quote(name)}")
    absent = sorted({match[0].split()[0] for reason in _skipped if (match := ABSENT_INTERPRETER.search(reason))})
    if absent:
        terminalreporter.write_line(f"interpreters that are not installed, so not tested: {', '.join(absent)}")
    if _in_ci():
        for reason, names in _missing_parts().items():
            terminalreporter.write_line(f"skipped for a missing part, a failure under HIL_CI: {reason}", red=True)
            for name in names:
                terminalreporter.write_line(f"    {name}", red=True)


def _note(report: pytest.TestReport | pytest.CollectReport) -> None:
    """Record a skip. Its ``longrepr`` is (path, line, ``Skipped: reason``), or the reason itself."""
    longrepr = report.longrepr
    reason = str(longrepr[2]) if isinstance(longrepr, tuple) else str(longrepr)
    _skipped.setdefault(reason.removeprefix("Skipped: "), []).append(report.nodeid)


def _missing_parts() -> dict[str, list[str]]:
    """Return the tests whose skip continuous integration does not accept, by reason."""
    return {reason: names for reason, names in _skipped.items() if not ABSENT_INTERPRETER.match(reason)}


def _in_ci() -> bool:
    return os.environ.get("HIL_CI") == "1"
