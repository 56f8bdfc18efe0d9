"""Defines the options and hooks of the plugin, which pytest loads in every run.

The library, numpy and other slow modules are imported only if an option or a test activates hil
(``plugins.activation``).
"""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING, Any

import pytest

from hil.fixtures.fixtures import (
    hil_case,
    hil_check,
    hil_dataset,
    hil_engine,
    hil_reference,
    hil_target,
)
from hil.plugins import activation, benchmarks, command_line, current_run, exit_guard
from hil.plugins.exit_guard import Outermost
from hil.plugins.interactive.selection import KEY, selection_of

if TYPE_CHECKING:
    from collections.abc import Generator

    from _pytest.terminal import TerminalReporter

__all__ = ["hil_case", "hil_check", "hil_dataset", "hil_engine", "hil_reference", "hil_target"]

TARGET_HELP = "the machine under test, as named in hil.toml, e.g. --target=jetson-orin"

MOST_RUNS = 1000
EMPTY = "the value is empty: is a shell variable not set? Set it, or leave the option out"
MISREAD = (
    "{option} {value}: pytest treats {value}, which exists, as the path of a test, and looks for the project there: "
    "write {option}={value}"
)


def pytest_addoption(parser: pytest.Parser, pluginmanager: pytest.PytestPluginManager) -> None:
    """Add the ``--hil-…`` options; ``--target`` follows in ``pytest_load_initial_conftests``.

    Also mark an earlier report as incomplete if the command line uses hil.
    """
    group = parser.getgroup("hil", "hardware in the loop: judge neural networks on the target")
    add = group.addoption
    add("--hil-target", metavar="NAME", dest="hil_target", type=_text, help=TARGET_HELP)
    add("--hil-config", metavar="FILE", type=_text, help="the config (default: the nearest hil.toml)")
    add("--hil-report", metavar="DIR", type=_text, help="the report's folder (default: [project] report in hil.toml)")
    add(
        "--hil-fallback",
        choices=("cpu", "skip", "fail"),
        type=_text,
        help="if the target cannot be reached: run the checks that make sense on the CPU (default), skip all, or fail; "
        "the exit code is 10 with cpu and skip, 11 with fail, never 0",
    )
    add("--hil-gate", action="store_true", default=None, help="also decide the exit code by the policy ([gate])")
    add(
        "--hil-model",
        metavar="NAME",
        action="append",
        type=_text,
        help="only this model (repeatable); checks of other models are planned and not_run",
    )
    add("--hil-runs", metavar="N", type=_runs, help="time each engine in N fresh processes (default: [measure] runs)")
    add(
        "--hil-over",
        metavar="DURATION",
        type=_duration,
        help="spread the runs of --hil-runs over this time, such as '10 min', for each model; the target is idle in "
        "between",
    )
    add(
        "--hil-history",
        metavar="URL",
        type=_text,
        help="the history that stores the report for comparisons: sqlite:///FILE, postgresql+psycopg://…, or none "
        "(default: [project] history in hil.toml)",
    )
    add(
        "--hil-baseline",
        metavar="REF",
        type=_text,
        help="compare with earlier runs of this target: a run's id, latest, jetpack:6.2, commit:SHA or a name; "
        "plans the checks regression.*, and times each engine in 5 fresh processes unless --hil-runs or [measure] runs "
        "sets another number",
    )
    add(
        "--hil-sign-key",
        metavar="FILE",
        type=_text,
        help="sign the report with this private key (ECDSA P-256, PEM), or with the key in a variable: env:NAME; "
        "HIL_SIGN_KEY_PASSWORD decrypts an encrypted key",
    )
    add("--hil-wait", metavar="SECONDS", type=_seconds, help="how long to wait while somebody else holds the target")
    if (config := pluginmanager.get_plugin("pytestconfig")) is not None:
        current_run.invalidate(config)


def _text(text: str) -> str:
    """Return ``text``. Raise ``ArgumentTypeError`` if it is empty, as from an unset shell variable."""
    if not text.strip():
        raise argparse.ArgumentTypeError(EMPTY)
    return text


def _seconds(text: str) -> float:
    """Return ``text`` as seconds. Raise ``ArgumentTypeError`` unless it is a finite number of 0 or more."""
    try:
        seconds = float(_text(text))
    except ValueError:
        seconds = -1.0
    if not 0 <= seconds < float("inf"):
        raise argparse.ArgumentTypeError(f"{text!r} is not a number of seconds: write e.g. 60")
    return seconds


def _duration(text: str) -> float:
    """Return ``text``, such as ``10 min``, in seconds. Raise ``ArgumentTypeError`` unless it is a duration above 0."""
    from hil.units import Dimension, parse

    try:
        seconds = parse(_text(text), Dimension.TIME)
    except ValueError as error:
        raise argparse.ArgumentTypeError(str(error)) from None
    if not seconds:
        raise argparse.ArgumentTypeError(f"{text!r} is not a time to spread runs over: write e.g. '10 min'")
    return seconds


def _runs(text: str) -> int:
    """Return ``text`` as a number of runs. Raise ``ArgumentTypeError`` unless it is from 1 to ``MOST_RUNS``."""
    try:
        runs = int(_text(text))
    except ValueError:
        runs = 0
    if not 1 <= runs <= MOST_RUNS:
        raise argparse.ArgumentTypeError(f"{text!r} is not a number of runs from 1 to {MOST_RUNS}: write e.g. 5")
    return runs


@pytest.hookimpl(wrapper=True, tryfirst=True)
def pytest_load_initial_conftests(early_config: pytest.Config, parser: pytest.Parser) -> Generator[None]:
    """Add ``--target`` after all conftests are loaded, unless another plugin or conftest defines ``--target``.

    Raise ``UsageError`` if pytest takes the value of a hil option for a test's path, or a conftest calls ``sys.exit``.
    """
    if misread := command_line.misread(command_line.read(early_config), early_config.invocation_params.dir):
        option, value = misread
        raise pytest.UsageError(MISREAD.format(option=option, value=value))
    try:
        yield
    except SystemExit as error:
        raise pytest.UsageError(f"a conftest raised SystemExit({error.code}): remove sys.exit() from it") from None
    if is_taken(parser, "--target"):
        early_config.stash[activation.TARGET_IS_FOREIGN] = True
    else:
        parser.getgroup("hil").addoption("--target", metavar="NAME", dest="hil_target", type=_text, help=TARGET_HELP)
    early_config.pluginmanager.register(Outermost(), exit_guard.NAME)


def is_taken(parser: pytest.Parser, option: str) -> bool:
    """Return whether another plugin or conftest defines ``option``."""
    try:
        _, unknown = parser.parse_known_and_unknown_args([f"{option}=x"])
    except pytest.UsageError as error:  # its owner refuses the value, or another option is required
        return option in str(error)
    return bool(not unknown)


@pytest.hookimpl(tryfirst=True)  # before junitxml, which reads its file name here
def pytest_configure(config: pytest.Config) -> None:
    """Register the markers, and create the run if the command line uses hil."""
    for line in (
        "hil(check_id): a stock check; judged once for each model and precision that it applies to",
        "hil_models(*names): only these models of hil.toml",
        "hil_precisions(*names): only these precisions",
    ):
        config.addinivalue_line("markers", line)
    benchmarks.register(config)
    current_run.configured(config)


def pytest_sessionstart(session: pytest.Session) -> None:
    """Write an incomplete report if the command line uses hil."""
    if run := current_run.active_run(session.config):
        run.open_report()


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """Parametrize a hil test with its models and precisions."""
    if "hil_case" in metafunc.fixturenames or "hil_target" in metafunc.fixturenames:
        current_run.run_of(metafunc.config).parametrize(metafunc)


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Drop tests without a case, and group the others by model. If the run has a problem, end pytest instead."""
    if run := current_run.active_run(config):
        run.collected(items)


def pytest_deselected(items: list[pytest.Item]) -> None:
    """Note the deselected tests: their rows become ``not_run``."""
    if items and (run := current_run.active_run(items[0].config)):
        run.deselected([item.nodeid for item in items])


def pytest_collection_finish(session: pytest.Session) -> None:
    """Note the selected tests, and write the incomplete report if ``pytest_sessionstart`` did not."""
    if run := current_run.active_run(session.config):
        run.selected([item.nodeid for item in session.items])
        run.will_run(session.items)


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(
    item: pytest.Item, call: pytest.CallInfo[None]
) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """Attach the outcomes to pytest's report as one string."""
    report = yield
    if run := current_run.active_run(item.config):
        run.attach(item, call, report)
    return report


def pytest_runtest_logreport(report: pytest.TestReport) -> None:
    """Enter each result into the accounts of the controller."""
    if run := current_run.run_for_report(report):
        run.account(report)


def pytest_collectreport(report: pytest.CollectReport) -> None:
    """Note a test file that could not be collected, for the report's page."""
    if report.failed and (run := current_run.run_for_report(report)):
        from hil.plugins import collection

        collection.note_failure(run, report)


@pytest.hookimpl(trylast=True)
def pytest_sessionfinish(session: pytest.Session) -> None:
    """Close the accounts, write the report and decide the exit code."""
    if run := current_run.active_run(session.config):
        run.finish(session)


def pytest_terminal_summary(terminalreporter: TerminalReporter, config: pytest.Config) -> None:
    """Print warnings, the decision and the table of results below pytest's own summary."""
    if run := current_run.active_run(config):
        run.summarize(terminalreporter)


def pytest_unconfigure(config: pytest.Config) -> None:
    """End the run and release the target."""
    current_run.end(config)


@pytest.hookimpl(optionalhook=True, tryfirst=True)
def pytest_xdist_auto_num_workers(config: pytest.Config) -> int | None:
    """Return, for ``-n auto``, how many boards the target can have; ``None`` for one machine, so that xdist decides."""
    if not config.getoption("hil_target", None):
        return None
    from hil.plugins.pools.open_pool import workers_for_all

    return workers_for_all(config)


@pytest.hookimpl(optionalhook=True)
def pytest_configure_node(node: Any) -> None:
    """Send the run's id, selection and baseline to an xdist worker."""
    node.workerinput["hil_run_id"] = activation.run_id(node.config)
    selection = selection_of(node.config)
    node.workerinput[KEY] = [selection.text, list(selection.files), selection.root]
    if (run := current_run.active_run(node.config)) and run.baseline is not None:
        node.workerinput["hil_baseline"] = run.baseline.model_dump_json()


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_node_collection_finished(node: Any, ids: list[str]) -> None:
    """Note the tests that a worker selected."""
    if run := current_run.active_run(node.config):
        run.selected(ids)


@pytest.hookimpl(optionalhook=True)
def pytest_testnodedown(node: Any, error: object | None) -> None:
    """Read the notes that a worker left at its end. If it left none, it ended early, and the run fails."""
    del error
    notes = getattr(node, "workeroutput", {})
    if "hil_deselected" in notes:
        current_run.run_of(node.config).read_notes(notes)
    elif (run := current_run.active_run(node.config)) and not getattr(node, "hil_notes_read", False):
        run.other_tests_failed += 1
        run.notes.append(f"worker {node.gateway.id} ended early: look for sys.exit() in a hook or for a crash")
