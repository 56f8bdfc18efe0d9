"""Carries out a pytest run that uses hil: plan, session, accounts, report and exit code, in that order."""

from __future__ import annotations

import itertools
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from hil.baseline import Baseline
from hil.config import own_checks
from hil.errors import HilError, LabError, UserError
from hil.fixtures.case import RUN_INTERFACE, Case
from hil.plan import expand
from hil.plugins import activation, add_to_history, benchmarks, collection, finish_run, load_baseline, signing
from hil.plugins.accounts import Accounts, OwnTest
from hil.plugins.commit import Commit, commit_of, imported
from hil.plugins.kept_rows import KeptRows
from hil.plugins.pools.open_pool import board_request, check_distribution
from hil.plugins.run_state import JUDGED, OUTCOMES, RunState, digests, load_config
from hil.plugins.sigterm import sigterm_interrupts
from hil.results import Row, Verdict
from hil.session.preflight import check_soak, preflight

if TYPE_CHECKING:
    from _pytest.terminal import TerminalReporter

    from hil.session import Session
    from hil.session.outcome import Outcome

GOOD = (Verdict.PASSED, Verdict.WARNED)
FEWEST_SPREAD = 2
NOTHING_TO_SPREAD = (
    "--hil-over spreads the runs of --hil-runs over a time, but each engine is timed in one run: add --hil-runs=7, or "
    "omit --hil-over"
)
FOREIGN_TARGET = (
    "--target belongs to another plugin or conftest of this project, so hil has no target: use --hil-target=NAME"
)


class HilRun(RunState):
    """The run, in the controller and in each xdist worker. The plugin's hooks and fixtures call its methods."""

    @cached_property
    def kept_rows(self) -> KeptRows:
        """The writer of the judged rows to the incomplete report while the run lasts."""
        return KeptRows(self)

    def begin(self) -> None:
        """Load the config, make the plan, check models and data. Store a ``HilError`` as ``problem``; raise none."""
        try:
            if activation.target_is_lost(self.pytest_config):
                raise UserError(FOREIGN_TARGET)
            self.config = load_config(self.pytest_config)
            self.config.target(self.target)
            check_distribution(self)
            self.baseline = self._baseline()
            self.plan = expand(self.config, self.target, baseline=self.baseline is not None)
            if self.over and (self.timed_runs(self.config) or self.config.spec.measure.runs) < FEWEST_SPREAD:
                raise UserError(NOTHING_TO_SPREAD)
            self.accounts = Accounts(self.plan)
            self._scope()
            if not self.is_worker and not activation.lists_only(self.pytest_config):
                check_soak(self.config, self.plan)
                self.opened = preflight(self.config, self.target, watched=self.sources, progress=self.progress)
                self.commit = self._commit()
                self.signer = signing.signer(self)
        except HilError as error:
            self.problem = error
        self.pytest_config.stash[RUN_INTERFACE] = self

    def _commit(self, *, others: bool = True) -> Commit:
        """Return ``commit_of`` the folder of ``hil.toml``, for the configs and all modules imported by this run."""
        if self.config is None:
            return Commit()
        configs = (self.config.path, own_checks.place(self.config.path), self.pytest_config.inipath)
        existing = (path for path in configs if path is not None and path.exists())
        files = itertools.chain(self._files, imported(), existing)  # read only where there is a repository
        return commit_of(self.config.root, files, others=others)

    def raise_problem(self) -> None:
        """If the run has a problem, end pytest with its message and exit code, and make an old report a failed one."""
        if self.problem is not None:
            finish_run.refuse(self, self.problem)
            if isinstance(self.problem, LabError):
                pytest.exit(f"error: {self.problem}", returncode=int(self.problem.exit_code))
            raise pytest.UsageError(str(self.problem))

    def _baseline(self) -> Baseline | None:
        """Return the baseline, or ``None`` without ``--hil-baseline``.

        An xdist worker gets the baseline from the controller. The baseline is empty if pytest runs no test.
        """
        ref: str | None = self.pytest_config.getoption("hil_baseline", None)
        if ref is None:
            return None
        document = getattr(self.pytest_config, "workerinput", {}).get("hil_baseline")
        if document is not None:
            return Baseline.model_validate_json(document)
        if activation.lists_only(self.pytest_config):
            return Baseline(ref=ref)
        place = add_to_history.place(self)
        if place is None:
            raise UserError(
                f"--hil-baseline={ref} needs the history, which is switched off: name one with --hil-history=URL, or "
                "omit --hil-baseline"
            )
        return load_baseline.load(place, ref, self.target)

    def _scope(self) -> None:
        assert self.config is not None  # noqa: S101 - begin() loaded it
        option = self.pytest_config.getoption
        only = option("hil_model", None)
        for name in only or ():
            self.config.model(name, self.target)
        self.states.out_of_scope = {name for name in self.config.spec.models if only and name not in only}

    # Collection

    def parametrize(self, metafunc: pytest.Metafunc) -> None:
        """Parametrize a hil test with its cases. A mistake of the user becomes ``problem``."""
        try:
            collection.parametrize(metafunc, self.plan, self.config, self.states)
        except UserError as error:
            self.problem = self.problem or error

    def collected(self, items: list[pytest.Item]) -> None:
        """Drop the tests without a case from ``items``, and group the others by model.

        In a controller whose run has a problem, end pytest instead.
        """
        if self.problem is not None and not self.is_worker:
            self.raise_problem()
        collection.drop_without_case(self.pytest_config, items)
        collection.by_model(items)
        self.states.own.update((test.nodeid, test) for test in collection.own_tests(items))

    def selected(self, nodeids: list[str]) -> None:
        """Note the selected tests, and write the incomplete report if it is not written yet."""
        self.states.selected.update(nodeids)
        self.open_report()

    def open_report(self) -> None:
        """Write the incomplete report and check the history, once. If either fails, end pytest with exit code 4 or 11.

        Does nothing if pytest runs no test, or if the run has a problem.
        """
        if self.begun or activation.lists_only(self.pytest_config) or self.problem is not None:
            return
        if not self.is_worker:
            self._until_end.enter_context(sigterm_interrupts(self.target))
            self.progress.before, self.progress.during = self.kept_rows.before, self.kept_rows.due
        try:
            finish_run.begin(self)
            add_to_history.check(self)
        except UserError as error:
            raise pytest.UsageError(str(error)) from None
        except HilError as error:
            pytest.exit(f"error: {error}", returncode=int(error.exit_code))

    def will_run(self, items: list[pytest.Item]) -> None:
        """Note the engines to build before the tests: none in an xdist worker."""
        self._engines = [] if self.is_worker else collection.engines_of(items)

    def deselected(self, nodeids: list[str]) -> None:
        """Note the tests that pytest deselected, for example by ``-k``."""
        self.states.deselected.update(nodeids)

    def read_notes(self, notes: dict[str, Any]) -> None:
        """Read the notes that an xdist worker left at its end.

        Set ``problem`` if the worker had a lab error, or its config differs from the controller's.
        """
        self.deselected(notes["hil_deselected"])
        self.states.own.update((nodeid, OwnTest(nodeid, *rest)) for nodeid, *rest in notes["hil_own"])
        self._files.update(map(Path, notes.get("hil_imported", ())))
        if notes.get("hil_lab"):
            self.problem = self.problem or LabError(notes["hil_lab"])
        if self.config is not None and notes["hil_config"] not in ("", digests(self.config)):
            name = self.config.path.name
            what = f"{name} or the file of own checks was changed at the start of the run, and workers read the change"
            self.problem = self.problem or UserError(f"{what}: run again")

    # RunInterface, for the fixtures

    def session(self) -> Session:
        """Return the session, which holds the target; the first call opens it. If ``problem`` is set, raise it."""
        if self.problem is not None:
            raise self.problem
        if self._session is None:
            assert self.config is not None  # noqa: S101 - begin() loaded it
            self._session = self.open_session(self.config, board_request(self, self.config))
            self._session.engines.plan(self._engines)
        return self._session

    def row(self, check_id: str, case: Case) -> Row | None:
        """Return the planned row of a check and case, whether it has a limit or not; ``None`` if none is planned."""
        rows = (row for row in self.plan.of(check_id) if (row.model, row.precision) == case)
        return next(rows, None)

    def record(self, item: pytest.Item, outcome: Outcome) -> None:
        """Store an outcome until pytest's report of the test is made."""
        item.stash.setdefault(OUTCOMES, []).append(outcome)
        item.stash[JUDGED] = True
        item.user_properties.append((f"hil {outcome.result.name}", outcome.result.verdict.value))

    def offer(self, request: pytest.FixtureRequest, outcome: Outcome) -> None:
        """Export the outcome's latency series to pytest-benchmark, if that plugin is loaded."""
        benchmarks.export(request, outcome, self.report_dir, self.progress)

    # Reports

    def attach(self, item: pytest.Item, call: pytest.CallInfo[None], report: pytest.TestReport) -> None:
        """Put the test's outcomes on pytest's report; see ``collection.attach``."""
        collection.attach(self, item, call, report)

    def account(self, report: pytest.TestReport) -> None:
        """Enter the outcomes on pytest's report into the accounts.

        A failed test with neither a failing outcome nor a problem counts in ``other_tests_failed``.
        """
        if report.when not in ("setup", "call", "teardown"):
            self.states.crashed.add(report.nodeid)
        if report.when == "teardown":
            self.states.finished.add(report.nodeid)
        outcomes = collection.outcomes_of(report)
        for outcome, own in outcomes:
            self.accounts.enter(report.nodeid, outcome, own=own)
        if problem := collection.problem_of(report):
            self.problem = self.problem or problem
        elif report.failed and all(outcome.result.verdict in GOOD for outcome, _ in outcomes):
            self.other_tests_failed += 1
            collection.note_failure(self, report)
        elif report.passed and report.when == "call" and not outcomes:
            self.other_tests_passed += 1
        if outcomes:
            self.kept_rows.judged()

    def finish(self, session: pytest.Session) -> None:
        """Release the target, write the report and set the exit code.

        An xdist worker releases its target and leaves its notes for the controller (``read_notes``).
        """
        self._used = self.used()
        try:
            self.close()
        except LabError as error:  # the target's original state was not restored, which must not be overlooked
            self.problem = self.problem or error
        if self.is_worker:
            self.pytest_config.workeroutput.update(self.own_notes())  # type: ignore[attr-defined] # xdist sets it
        elif not activation.lists_only(self.pytest_config):
            self.states.stopped = str(session.shouldfail or session.shouldstop or "")
            # If a problem stops a worker, xdist reports an interrupt; without xdist, pytest reports failed tests.
            stopped = self.problem is not None and session.exitstatus == pytest.ExitCode.INTERRUPTED
            status = pytest.ExitCode.TESTS_FAILED if stopped else session.exitstatus
            # Files changed at the start count as used even if restored since; all imports are known only now.
            self.commit = self.commit.combined(self._commit(others=False))
            session.exitstatus = finish_run.close(self, int(status))
            self.pytest_config.stash[activation.DECIDED] = int(session.exitstatus)

    def summarize(self, terminal: TerminalReporter) -> None:
        """Print warnings, notes, the estimate of ``--collect-only`` and the decision below pytest's own summary."""
        for warning in (*(self.config.warnings if self.config else ()), *self.notes):
            terminal.write_line(f"warning: {warning}", yellow=True)
        if (line := collection.estimate_of(self)) is not None:
            terminal.write_line(line)
        if self.report is not None:
            config = self.config.path if self.config else None
            finish_run.show(self.report, self.report_dir, config, terminal)

    def end(self) -> None:
        """End the run in any state: release the target and remove the handler of SIGTERM. Raises like ``close``."""
        with self._until_end:
            self.close()

    def close(self) -> None:
        """Close the session, which releases the target; may be called twice. Raises like ``Session.close``."""
        session, self._session = self._session, None
        try:
            if session is not None:
                session.close()
        finally:
            if self.pool is not None:
                self.pool.close()
