"""When the plugin wakes up: a hil option, the stock suites, or a test that asks for a hil fixture."""

from __future__ import annotations

import contextlib
import json
import secrets
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from hil.errors import HilError
from hil.plugins.command_line import OPTIONS, in_worker, is_suite, read

if TYPE_CHECKING:
    from hil.plugins.run import HilRun

RUN: pytest.StashKey[HilRun] = pytest.StashKey()
RUN_ID: pytest.StashKey[str] = pytest.StashKey()
AWOKE: pytest.StashKey[bool] = pytest.StashKey()
DECIDED: pytest.StashKey[int] = pytest.StashKey()
TARGET_TAKEN: pytest.StashKey[bool] = pytest.StashKey()
"""Whether another plugin or a conftest defines ``--target``."""
LISTINGS = ("help", "version", "markers", "showfixtures", "show_fixtures_per_test", "collectonly", "cacheshow")
"""Options with which pytest shows something and runs nothing."""
INSTALLED = {"site-packages", "dist-packages"}
# pytest_runtest_logreport is not given the config; nested runs (pytester) stack up.
_controllers: list[pytest.Config] = []


def invalidate(config: pytest.Config) -> None:
    """Mark the report of an earlier run as incomplete where the command line names hil.

    Whatever ends pytest from here on, that report is not taken for this run's. A report that a live run is writing
    stays, and so does a file that is no finished report.
    """
    # Both are set once pytest has read its ini file, which it does before it loads installed plugins.
    if not hasattr(config, "known_args_namespace") or in_worker() or not read(config).names_hil:
        return
    from hil.plugins.report_folder import report_folder  # noqa: PLC0415 - only a run with hil pays

    options = read(config).options
    folder = report_folder(options, config.invocation_params.dir, config.rootpath)
    if not _finished(folder / "report.json"):
        return
    from hil.plugins import finish_run  # noqa: PLC0415 - as above
    from hil.plugins.run import HilRun  # noqa: PLC0415 - as above

    run = HilRun(config, secrets.token_hex(8), folder)
    run.target = options.get("hil_target") or options.get("target") or run.target
    with contextlib.suppress(HilError):
        finish_run.begin(run)


def _finished(path: Path) -> bool:
    try:
        document = json.loads(path.read_bytes())
    except (OSError, ValueError, RecursionError):
        return False
    return isinstance(document, dict) and document.get("status") == "complete"


def configured(config: pytest.Config) -> None:
    """Notes the run's config, and wakes up if the command line speaks of hil."""
    if not is_worker(config):
        _controllers.append(config)
    if asked_for(config):
        add_suites(config)
        from hil.plugins import report_folder  # noqa: PLC0415 - heavy; only a run that uses it pays

        run = run_of(config)
        report_folder.check(run)
        run.raise_problem()
        if not run.is_worker and getattr(config.option, "xmlpath", "") is None and not config.option.collectonly:
            config.option.xmlpath = str(run.report_dir / "junit.xml")


def add_suites(config: pytest.Config) -> None:
    """Where a target is named and no test is, the stock suites run beside the project's own tests."""
    if not config.getoption("hil_target", None) or config.args_source is config.ArgsSource.ARGS:
        return
    suites = (Path(__file__).parent.parent / "suites").resolve()
    given = [(config.invocation_params.dir / arg.split("::")[0]).resolve() for arg in config.args]
    # Not twice where pytest finds them by itself, as in this repository; it does not look into environments.
    around = [place for place in given if suites.is_relative_to(place)]
    found = any(INSTALLED.isdisjoint(suites.relative_to(place).parts) for place in around)
    if not found and not any(_copied(suites, place) for place in given):
        config.args.append(str(suites))


def _copied(suites: Path, place: Path) -> bool:
    """Whether ``place`` holds the same suites: a clone of this repository, beside the wheel that was made of it."""
    one, other = suites / "test_contract.py", place / "test_contract.py"
    return other.is_file() and other.read_bytes() == one.read_bytes()


def target_is_lost(config: pytest.Config) -> bool:
    """Whether ``--target`` was given, another plugin or conftest took it, and ``--hil-target`` was not given."""
    options = read(config).options
    return "target" in options and "hil_target" not in options and config.stash.get(TARGET_TAKEN, False)


def is_worker(config: pytest.Config) -> bool:
    """Whether this process is an xdist worker: it judges, its controller keeps the accounts."""
    return hasattr(config, "workerinput")


def asked_for(config: pytest.Config) -> bool:
    """Whether the command line itself asks for hil."""
    if any(config.getoption(name, None) is not None for name in OPTIONS):
        return True
    return any(map(is_suite, (*config.invocation_params.args, *config.args)))


def listing(config: pytest.Config) -> str | None:
    """The option with which pytest was asked to show something and to run nothing, as pytest names its value."""
    return next((name for name in LISTINGS if getattr(config.option, name, None)), None)


def lists_only(config: pytest.Config) -> bool:
    """Whether nothing runs and no report is written: ``--collect-only``, ``--fixtures`` and the like."""
    return listing(config) is not None


def run_id(config: pytest.Config) -> str:
    """The run's id: made by the controller, handed to its workers."""
    if RUN_ID not in config.stash:
        config.stash[RUN_ID] = getattr(config, "workerinput", {}).get("hil_run_id") or secrets.token_hex(8)
    return config.stash[RUN_ID]


def run_of(config: pytest.Config) -> HilRun:
    """The run, woken up if it slept. A user's mistake is kept in it until it can be shown once."""
    if RUN not in config.stash:
        from hil.plugins.run import HilRun  # noqa: PLC0415 - heavy; only a run that uses it pays

        config.stash[AWOKE] = True
        config.stash[RUN] = HilRun(config, run_id(config))
        config.stash[RUN].begin()
    return config.stash[RUN]


def awake(config: pytest.Config) -> HilRun | None:
    """The run if it is awake."""
    return config.stash.get(RUN, None)


def accountant(report: pytest.TestReport) -> HilRun | None:
    """The run that keeps accounts of ``report``; a result from a worker wakes its controller."""
    if not _controllers:
        return None
    config = _controllers[-1]
    return run_of(config) if hasattr(report, "hil") else awake(config)


def forget(config: pytest.Config) -> None:
    """Ends the run and lets go of what it holds."""
    if config in _controllers:
        _controllers.remove(config)
    if run := awake(config):
        try:
            run.forget()
        except HilError as error:  # the run ended before its accounts were closed
            sys.stderr.write(f"error: {error}\n")
