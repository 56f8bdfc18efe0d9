"""Holds the data of one pytest run that uses hil: plan, accounts, problem, target, report."""

from __future__ import annotations

import contextlib
import dataclasses
from datetime import datetime, timezone
from typing import TYPE_CHECKING, Any

import pytest

from hil.config.find_config import find
from hil.config.load import Config, load
from hil.errors import ExitCode, HilError, LabError, TargetHeld, UserError
from hil.plan import Plan
from hil.plugins import activation
from hil.plugins.accounts import Accounts, NodeStates
from hil.plugins.commit import Commit, imported
from hil.plugins.interactive.selection import FOLDER, selection_of
from hil.plugins.progress import Progress
from hil.plugins.report_folder import report_folder
from hil.results import TargetUse
from hil.session import Request, Session
from hil.session.validation_data import Opened
from hil.session.watched_files import Sources

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from hil.attestation import Signer
    from hil.baseline import Baseline
    from hil.pools.lease import Lease
    from hil.pools.pool import Pool
    from hil.report.schema import FailedTest, Report, VoidAttempt
    from hil.session.outcome import Outcome

RUNS = 5
"""How many fresh processes time each engine of a run with a baseline, unless the user chose another number."""
NO_CONFIG = (
    "no hil.toml in {} or a folder above it: write one with 'hil init MODEL.onnx', or name it with --hil-config=FILE"
)
OUTCOMES: pytest.StashKey[list[Outcome]] = pytest.StashKey()
JUDGED: pytest.StashKey[bool] = pytest.StashKey()
BROKEN: pytest.StashKey[bool] = pytest.StashKey()


def digests(config: Config) -> str:
    """Return the digests of the config and of the file of own checks, as one text."""
    return f"{config.digest} {config.checks_digest}"


def now() -> str:
    """Return the current time in ISO 8601, in UTC."""
    return datetime.now(timezone.utc).isoformat(timespec="seconds")


def load_config(config: pytest.Config) -> Config:
    """Return the config of a pytest run. Raise ``UserError`` if there is none or it has mistakes."""
    option = config.getoption("hil_config", None)
    folder = config.invocation_params.dir
    path = folder / option if option else find(folder) or find(config.rootpath, folder)
    if path is None:
        raise UserError(NO_CONFIG.format(folder))
    return load(path)


class RunState:
    """The data of a run, in the controller and in each xdist worker; ``HilRun`` has the methods."""

    def __init__(self, config: pytest.Config, run_id: str, folder: Path | None = None) -> None:
        self.pytest_config = config
        self.run_id = run_id
        self.started = now()
        self.is_worker = activation.is_worker(config)
        self.target: str = config.getoption("hil_target", None) or "cpu"
        self.problem: HilError | None = None
        self.config: Config | None = None
        self.baseline: Baseline | None = None
        self.sources = Sources()
        self.opened = Opened()
        self.plan = Plan(self.target, ())
        self.accounts = Accounts(self.plan)
        self.selection = selection_of(config)
        self.states = NodeStates(selection=self.selection)
        self.other_tests_failed = 0
        self.failed_tests: list[FailedTest] = []
        self.other_tests_passed = 0
        self.report: Report | None = None
        self.signer: Signer | None = None
        self.commit = Commit()
        self._files: set[Path] = set()
        self.notes: list[str] = []
        self.progress = Progress(config, quiet=self.is_worker)
        self._session: Session | None = None
        self._used: TargetUse | None = None
        self._engines: list[tuple[str, str]] = []
        self.begun = False
        self.did_not_begin = False
        self._folder = folder
        self._until_end = contextlib.ExitStack()
        # Of a target that is several boards:
        self.pool: Pool | None = None
        self.lease: Lease | None = None
        self.lost = ""  # why the board of this process was lost
        self.lost_boards: dict[str, str] = {}
        self.attempts: list[VoidAttempt] = []

    @property
    def report_dir(self) -> Path:
        """The report's folder, as ``report_folder`` determines it; for a selection, the folder ``FOLDER`` inside it."""
        if self._folder is None:
            config = self.pytest_config
            self._folder = report_folder(vars(config.option), config.invocation_params.dir, config.rootpath)
        return self._folder / FOLDER if self.selection else self._folder

    def used(self) -> TargetUse:
        """Return the names of the requested and the used target, from the first result or else from the session.

        Before there is a result or a session, both are the name of the requested target.
        """
        for _, outcome in self.accounts.outcomes.values():
            return outcome.result.target
        if self._session is None and self._used is not None:
            return self._used
        return TargetUse(requested=self.target, used=self._session.used if self._session else self.target)

    def error_text(self, kind: ExitCode) -> str | None:
        """Return the message of ``problem`` if it is an error of ``kind``, else ``None``.

        ``kind`` is ``USER_ERROR`` or ``LAB_ERROR``.
        """
        problem = self.problem
        of_kind = isinstance(problem, UserError) if kind is ExitCode.USER_ERROR else isinstance(problem, LabError)
        return str(problem) if of_kind else None

    def timed_runs(self, config: Config) -> int | None:
        """Return in how many fresh processes each engine is timed; ``None`` means as often as ``[measure] runs``.

        That is ``--hil-runs``, else ``RUNS`` for a run with a baseline whose ``[measure] runs`` is 1, else ``None``.
        """
        option: int | None = self.pytest_config.getoption("hil_runs", None)
        enough = self.baseline is None or config.spec.measure.runs > 1
        return option if option is not None or enough else RUNS

    @property
    def over(self) -> float:
        """The time of ``--hil-over`` in seconds; 0 without this option."""
        return self.pytest_config.getoption("hil_over", None) or 0.0

    def open_session(self, config: Config, board: Mapping[str, Any]) -> Session:
        """Return a session that holds the run's target. Raises like ``Session.open``.

        ``board`` has the fields of the ``Request`` about the board (``board_request``); it is empty for a target that
        is one machine.
        """
        option = self.pytest_config.getoption
        request = Request(
            config=config,
            target=self.target,
            fallback=option("hil_fallback", None) or "cpu",
            wait=option("hil_wait", None) or 0.0,
            run_id=self.run_id,
            report_dir=self.report_dir,
            sources=self.sources,
            opened=self.opened,
            plan=self.plan,
            progress=self.progress,
            runs=self.timed_runs(config),
            over=self.over,
            baseline=self.baseline,
            **board,
        )
        try:
            session = Session.open(request)
        except TargetHeld as error:
            raise TargetHeld(f"{error}, or wait for it with --hil-wait=SECONDS") from None
        if self.lease is not None:
            self.lease.watch(session.lose)
        return session

    def lose_board(self, reason: str) -> None:
        """Give up the held board because of ``reason``. May be called from another thread."""
        if self._session is not None:
            self._session.lose(reason)

    def own_notes(self) -> dict[str, Any]:
        """Return the notes of this xdist worker for the controller, which reads them by ``HilRun.read_notes``."""
        return {
            "hil_deselected": sorted(self.states.deselected),
            "hil_own": [dataclasses.astuple(test) for test in self.states.own.values()],
            "hil_config": digests(self.config) if self.config else "",
            "hil_lab": self.error_text(ExitCode.LAB_ERROR),
            "hil_imported": sorted(map(str, imported())),
        }
