"""What pytest loads in every run: options and hooks, nothing heavy.

The plugin sleeps until a hil option or a hil test is there (``plugins.wake``); only then are the
library, numpy and the rest imported.
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

if TYPE_CHECKING:
    from collections.abc import Generator

    from _pytest.terminal import TerminalReporter

__all__ = ["hil_case", "hil_check", "hil_dataset", "hil_engine", "hil_reference", "hil_target"]

TARGET_HELP = "the machine under test, as named in hil.toml, e.g. --target=jetson-orin"

MOST_RUNS = 1000
EMPTY = "the value is empty: is a variable not set that should give it? Set it, or leave the option out"
MISREAD = (
    "{option} {value}: pytest takes {value}, which exists, for the path of a test and looks for the project there: "
    "write {option}={value}"
)


def pytest_addoption(parser: pytest.Parser, pluginmanager: pytest.PytestPluginManager) -> None:
    """Adds the ``--hil-…`` options; ``--target`` follows in ``pytest_load_initial_conftests``.

    From here on pytest may end by a mistake on the command line or in a conftest; no earlier report outlives that.
    """
    group = parser.getgroup("hil", "hardware in the loop: judge neural networks on the target")
    add = group.addoption
    add("--hil-target", metavar="NAME", dest="hil_target", type=_text, help=TARGET_HELP)
    add("--hil-config", metavar="FILE", type=_text, help="the config (default: hil.toml here or in a parent folder)")
    add("--hil-report", metavar="DIR", type=_text, help="where the report goes (default: [project] report in hil.toml)")
    add(
        "--hil-fallback",
        choices=("cpu", "skip", "fail"),
        type=_text,
        help="when the target cannot be reached: run on the CPU what makes sense there (default), skip, or fail; "
        "the exit code is 10 under cpu and skip, 11 under fail, never 0",
    )
    add("--hil-gate", action="store_true", default=None, help="add the policy's judgement ([gate]) to the exit code")
    add(
        "--hil-model",
        metavar="NAME",
        action="append",
        type=_text,
        help="only this model (repeatable); the rest stays planned",
    )
    add("--hil-runs", metavar="N", type=_runs, help="time each engine in N fresh processes (default: [measure] runs)")
    add(
        "--hil-history",
        metavar="URL",
        type=_text,
        help="where the report is kept to compare with: sqlite:///FILE, postgresql+psycopg://…, or none "
        "(default: [project] history in hil.toml)",
    )
    add(
        "--hil-baseline",
        metavar="REF",
        type=_text,
        help="compare with earlier runs of this target: a run's id, latest, jetpack:6.2, commit:SHA or a name; "
        "plans the checks regression.*, and times each engine in 5 fresh processes unless --hil-runs says otherwise",
    )
    add(
        "--hil-sign-key",
        metavar="FILE",
        type=_text,
        help="sign the report with this private key (ECDSA P-256, PEM), or with the one in a variable: env:NAME; "
        "HIL_SIGN_KEY_PASSWORD opens one that is encrypted",
    )
    add("--hil-wait", metavar="SECONDS", type=_seconds, help="wait this long for a target that somebody else holds")
    if (config := pluginmanager.get_plugin("pytestconfig")) is not None:
        current_run.invalidate(config)


def _text(text: str) -> str:
    """Reads a value that says something: an empty one must not stand for the default."""
    if not text.strip():
        raise argparse.ArgumentTypeError(EMPTY)
    return text


def _seconds(text: str) -> float:
    """Reads a finite number of seconds that is not negative."""
    try:
        seconds = float(_text(text))
    except ValueError:
        seconds = -1.0
    if not 0 <= seconds < float("inf"):
        raise argparse.ArgumentTypeError(f"{text!r} is no number of seconds: write e.g. 60")
    return seconds


def _runs(text: str) -> int:
    """Reads a number of runs, as ``[measure] runs`` has it."""
    try:
        runs = int(_text(text))
    except ValueError:
        runs = 0
    if not 1 <= runs <= MOST_RUNS:
        raise argparse.ArgumentTypeError(f"{text!r} is no number of runs from 1 to {MOST_RUNS}: write e.g. 5")
    return runs


@pytest.hookimpl(wrapper=True, tryfirst=True)
def pytest_load_initial_conftests(early_config: pytest.Config, parser: pytest.Parser) -> Generator[None]:
    """Adds ``--target`` last of all, so that a plugin or conftest with a ``--target`` of its own keeps it."""
    if misread := command_line.misread(command_line.read(early_config), early_config.invocation_params.dir):
        option, value = misread
        raise pytest.UsageError(MISREAD.format(option=option, value=value))
    try:
        yield
    except SystemExit as error:
        raise pytest.UsageError(f"a conftest raised SystemExit({error.code}): take sys.exit() out of it") from None
    if is_taken(parser, "--target"):
        early_config.stash[activation.TARGET_TAKEN] = True
    else:
        parser.getgroup("hil").addoption("--target", metavar="NAME", dest="hil_target", type=_text, help=TARGET_HELP)
    early_config.pluginmanager.register(Outermost(), exit_guard.NAME)


def is_taken(parser: pytest.Parser, option: str) -> bool:
    """Whether some plugin or conftest defines ``option`` already."""
    try:
        _, unknown = parser.parse_known_and_unknown_args([f"{option}=x"])
    except pytest.UsageError as error:  # whoever has it does not accept that value; or another option is required
        return option in str(error)
    return bool(not unknown)


@pytest.hookimpl(tryfirst=True)  # before junitxml, which wants to know its file here
def pytest_configure(config: pytest.Config) -> None:
    """Registers the markers and wakes up if a hil option was given."""
    for line in (
        "hil(check_id): a stock check; judged once for each model and precision it applies to",
        "hil_models(*names): only these models of hil.toml",
        "hil_precisions(*names): only these precisions",
    ):
        config.addinivalue_line("markers", line)
    benchmarks.register(config)
    current_run.configured(config)


def pytest_sessionstart(session: pytest.Session) -> None:
    """Marks the report as incomplete where the command line asked for hil: nothing green is left from before."""
    if run := current_run.awake(session.config):
        run.open_report()


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """Gives a hil test its models and precisions."""
    if "hil_case" in metafunc.fixturenames or "hil_target" in metafunc.fixturenames:
        current_run.run_of(metafunc.config).parametrize(metafunc)


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Reports a mistake in ``hil.toml`` once and with exit code 4, not once a test."""
    if run := current_run.awake(config):
        run.collected(items)


def pytest_deselected(items: list[pytest.Item]) -> None:
    """Notes what the user deselected: those rows stay planned and are ``not_run``."""
    if items and (run := current_run.awake(items[0].config)):
        run.deselected([item.nodeid for item in items])


def pytest_collection_finish(session: pytest.Session) -> None:
    """Learns what was selected; a run woken by its tests alone marks its report as incomplete here."""
    if run := current_run.awake(session.config):
        run.selected([item.nodeid for item in session.items])
        run.will_run(session.items)


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(
    item: pytest.Item, call: pytest.CallInfo[None]
) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """Attaches what was judged to pytest's report, as one string: only that survives the way from a worker."""
    report = yield
    if run := current_run.awake(item.config):
        run.attach(item, call, report)
    return report


def pytest_runtest_logreport(report: pytest.TestReport) -> None:
    """Enters each result into the accounts, where they are kept: in the controller."""
    if run := current_run.accountant(report):
        run.account(report)


@pytest.hookimpl(trylast=True)
def pytest_sessionfinish(session: pytest.Session) -> None:
    """Closes the accounts, writes the report and decides the exit code, once."""
    if run := current_run.awake(session.config):
        run.finish(session)


def pytest_terminal_summary(terminalreporter: TerminalReporter, config: pytest.Config) -> None:
    """Shows the decision and its table below pytest's own lines."""
    if run := current_run.awake(config):
        run.summarize(terminalreporter)


def pytest_unconfigure(config: pytest.Config) -> None:
    """Lets go of the target."""
    current_run.forget(config)


@pytest.hookimpl(optionalhook=True)
def pytest_configure_node(node: Any) -> None:
    """Tells an xdist worker which run it belongs to."""
    node.workerinput["hil_run_id"] = activation.run_id(node.config)
    if (run := current_run.awake(node.config)) and run.baseline is not None:
        node.workerinput["hil_baseline"] = run.baseline.model_dump_json()


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_node_collection_finished(node: Any, ids: list[str]) -> None:
    """Learns from a worker what was collected: the controller collects nothing itself."""
    if run := current_run.awake(node.config):
        run.selected(ids)


@pytest.hookimpl(optionalhook=True)
def pytest_testnodedown(node: Any, error: object | None) -> None:
    """Takes a worker's notes. One that leaves none crashed or was ended: what it knew is lost, so the run fails."""
    del error
    notes = getattr(node, "workeroutput", {})
    if "hil_deselected" in notes:
        current_run.run_of(node.config).noted(notes)
    elif run := current_run.awake(node.config):
        run.other_tests_failed += 1
        run.notes.append(f"worker {node.gateway.id} ended early: look for sys.exit() in a hook, or for a crash")
