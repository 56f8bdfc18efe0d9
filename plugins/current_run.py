"""Creates the hil run of this process when the plugin is activated, and ends the run with pytest."""

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
from hil.plugins.interactive.selection import FOLDER, selection_of

if TYPE_CHECKING:
    from pathlib import Path

    from hil.plugins.run import HilRun

RUN: pytest.StashKey[HilRun] = pytest.StashKey()
# pytest_runtest_logreport has no config argument; with pytester, runs are nested.
_controllers: list[pytest.Config] = []


def invalidate(config: pytest.Config) -> None:
    """Mark the report of an earlier run as incomplete if the command line uses hil.

    Do nothing in an xdist worker, if another live run writes to the folder, or if the report is not finished.
    """
    # known_args_namespace and the ini values exist once pytest has read its ini file, before it loads plugins.
    if not hasattr(config, "known_args_namespace") or in_worker() or not read(config).names_hil:
        return
    from hil.plugins.report_folder import report_folder

    options = read(config).options
    folder = report_folder(options, config.invocation_params.dir, config.rootpath)
    if not _finished((folder / FOLDER if selection_of(config) else folder) / "report.json"):
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
    return isinstance(document, dict) and document.get("status") in {"complete", "partial"}


def configured(config: pytest.Config) -> None:
    """Remember ``config`` unless this is an xdist worker, and create the run if the command line uses hil.

    End pytest if the run has a problem.
    """
    if not activation.is_worker(config):
        _controllers.append(config)
    if activation.is_requested(config):
        activation.add_suites(config)
        from hil.plugins import folder_lock

        run = run_of(config)
        folder_lock.check(run)
        run.raise_problem()
        from hil.plugins.pools.open_pool import is_pool

        if is_pool(run):
            from hil.plugins.pools.controller import PoolController
            from hil.plugins.pools.worker_side import WorkerSide

            config.pluginmanager.register(WorkerSide(run) if run.is_worker else PoolController(run))
        if not run.is_worker and getattr(config.option, "xmlpath", "") is None and not config.option.collectonly:
            config.option.xmlpath = str(run.report_dir / "junit.xml")


def run_of(config: pytest.Config) -> HilRun:
    """Return the run; the first call creates it. A ``HilError`` is not raised: ``HilRun.problem`` stores it."""
    if RUN not in config.stash:
        from hil.plugins.run import HilRun

        config.stash[activation.ACTIVATED] = True
        config.stash[RUN] = HilRun(config, activation.run_id(config))
        config.stash[RUN].begin()
    return config.stash[RUN]


def active_run(config: pytest.Config) -> HilRun | None:
    """Return the run, or ``None`` if no run was created, because nothing has used hil so far."""
    return config.stash.get(RUN, None)


def run_for_report(report: pytest.TestReport | pytest.CollectReport) -> HilRun | None:
    """Return the run whose accounts ``report`` belongs to; ``None`` in an xdist worker or if there is no run."""
    if not _controllers:
        return None
    config = _controllers[-1]
    return run_of(config) if hasattr(report, "hil") else active_run(config)


def end(config: pytest.Config) -> None:
    """End the run, if there is one, and release its target. An error is printed, not raised."""
    if config in _controllers:
        _controllers.remove(config)
    if run := active_run(config):
        try:
            run.end()
        except HilError as error:  # the run ended before its accounts were closed
            sys.stderr.write(f"error: {error}\n")
