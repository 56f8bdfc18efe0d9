"""Settings of this project's own tests: Hypothesis, and what a skip means in continuous integration."""

from __future__ import annotations

import os
import re
from pathlib import Path

import pytest
from hypothesis import settings

# No deadline: the machine that runs the tests may be busy, and time is what benchmarks/ measure.
settings.register_profile("hil", deadline=None, print_blob=True)
settings.load_profile("hil")

# Hundreds of tests start the command line in a process of its own: where the environment forbids byte code, each of
# them would compile the library, pytest's rewriting and all, anew. That is a third of what they take.
os.environ.pop("PYTHONDONTWRITEBYTECODE", None)

ROOT = Path(__file__).parent.parent
ABSENT_INTERPRETER = re.compile(r"python3\.\d+ is not there")
"""The one missing part that continuous integration lets pass: it asks only for interpreters that are there."""

_skipped: dict[str, list[str]] = {}


@pytest.fixture(scope="session")
def repository() -> Path:
    """The root of this repository."""
    return ROOT


def pytest_configure(config: pytest.Config) -> None:
    """Makes every warning an error; an exception belongs below, with the reason why it is not ours to mend.

    Under ``-n`` a worker without work takes over some of another's.
    """
    config.addinivalue_line("filterwarnings", "error")
    # Otherwise a worker's share is settled long before the end, and one is idle for minutes while another still has
    # the boards before it.
    if config.getoption("dist", "no") == "load":
        config.option.dist = "worksteal"


def pytest_runtest_logreport(report: pytest.TestReport) -> None:
    """Notes each skipped test under its reason; runs in the controller, under xdist too."""
    if report.skipped and not hasattr(report, "wasxfail"):
        _note(report)


def pytest_collectreport(report: pytest.CollectReport) -> None:
    """Notes each module that was skipped whole."""
    if report.skipped:
        _note(report)


def pytest_sessionfinish(session: pytest.Session) -> None:
    """Under ``HIL_CI=1`` a test skipped for a missing part fails the run: there, everything was installed."""
    if _in_ci() and _missing_parts() and session.exitstatus == pytest.ExitCode.OK:
        session.exitstatus = pytest.ExitCode.TESTS_FAILED


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Names what the machine lacks: interpreters in a line, anything else as the failure it is."""
    absent = sorted({match[0].split()[0] for reason in _skipped if (match := ABSENT_INTERPRETER.search(reason))})
    if absent:
        terminalreporter.write_line(f"interpreters that are not there, so not tested: {', '.join(absent)}")
    if _in_ci():
        for reason, names in _missing_parts().items():
            terminalreporter.write_line(f"skipped for a missing part, a failure under HIL_CI: {reason}", red=True)
            for name in names:
                terminalreporter.write_line(f"    {name}", red=True)


def _note(report: pytest.TestReport | pytest.CollectReport) -> None:
    """``longrepr`` of a skip is (path, line, ``Skipped: reason``); anything else is its own reason."""
    longrepr = report.longrepr
    reason = str(longrepr[2]) if isinstance(longrepr, tuple) else str(longrepr)
    _skipped.setdefault(reason.removeprefix("Skipped: "), []).append(report.nodeid)


def _missing_parts() -> dict[str, list[str]]:
    """The skips that continuous integration does not accept: reason to tests."""
    return {reason: names for reason, names in _skipped.items() if not ABSENT_INTERPRETER.match(reason)}


def _in_ci() -> bool:
    return os.environ.get("HIL_CI") == "1"
