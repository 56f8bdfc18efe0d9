"""The run of this process: made when the plugin wakes up, ended with pytest."""

from __future__ import annotations

import contextlib
import json
import secrets
import sys
from typing import TYPE_CHECKING

import pytest

from hil.errors import HilError
from hil.plugins import activation
from hil.plugins.command_line import in_worker, read

if TYPE_CHECKING:
    from pathlib import Path

    from hil.plugins.run import HilRun

RUN: pytest.StashKey[HilRun] = pytest.StashKey()
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
    from hil.plugins.report_folder import report_folder

    options = read(config).options
    folder = report_folder(options, config.invocation_params.dir, config.rootpath)
    if not _finished(folder / "report.json"):
        return
    from hil.plugins import finish_run
    from hil.plugins.run import HilRun

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
    if not activation.is_worker(config):
        _controllers.append(config)
    if activation.asked_for(config):
        activation.add_suites(config)
        from hil.plugins import folder_lock

        run = run_of(config)
        folder_lock.check(run)
        run.raise_problem()
        if not run.is_worker and getattr(config.option, "xmlpath", "") is None and not config.option.collectonly:
            config.option.xmlpath = str(run.report_dir / "junit.xml")


def run_of(config: pytest.Config) -> HilRun:
    """The run, woken up if it slept. A user's mistake is kept in it until it can be shown once."""
    if RUN not in config.stash:
        from hil.plugins.run import HilRun

        config.stash[activation.AWOKE] = True
        config.stash[RUN] = HilRun(config, activation.run_id(config))
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
