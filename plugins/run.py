"""One pytest run with hil in it: plan, session, accounts, report, exit code, in that order."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from hil.baseline import Baseline
from hil.config import own_checks
from hil.config.find_config import find
from hil.config.load import Config, load
from hil.errors import ExitCode, HilError, LabError, UserError
from hil.fixtures.case import BENCH, Case
from hil.plan import expand
from hil.plugins import activation, add_to_history, benchmarks, collection, finish_run, load_baseline, signing
from hil.plugins.accounts import Accounts, OwnTest
from hil.plugins.commit import Commit, commit_of, imported
from hil.plugins.run_state import JUDGED, OUTCOMES, RunState
from hil.plugins.sigterm import obeyed
from hil.results import Row, Verdict
from hil.session import Request, Session
from hil.session.preflight import preflight

if TYPE_CHECKING:
    from _pytest.terminal import TerminalReporter

    from hil.session.outcome import Outcome

GOOD = (Verdict.PASSED, Verdict.WARNED)
NO_CONFIG = (
    "no hil.toml in {} or a folder above it: write one with 'hil init MODEL.onnx', or name it: --hil-config=FILE"
)
TARGET_TAKEN = (
    "--target belongs to another plugin or conftest of this project, so that hil was given no target: "
    "use --hil-target=NAME"
)


def _digests(config: Config) -> str:
    return f"{config.digest} {config.checks_digest}"


class HilRun(RunState):
    """The plugin's state while it is awake, in the controller and in each xdist worker."""

    def begin(self) -> None:
        """Loads the config, plans, and looks at models and data; keeps the first mistake as ``problem``."""
        try:
            if activation.target_is_lost(self.pytest_config):
                raise UserError(TARGET_TAKEN)
            self.config = self._load()
            self.config.target(self.target)
            self.baseline = self._baseline()
            self.plan = expand(self.config, self.target, baseline=self.baseline is not None)
            self.accounts = Accounts(self.plan)
            self._scope()
            if not self.is_worker and not activation.lists_only(self.pytest_config):
                preflight(self.config, self.target, watched=self.sources)
                self.commit = self._commit()
                self.signer = signing.signer(self)
        except HilError as error:
            self.problem = error
        self.pytest_config.stash[BENCH] = self

    def _commit(self, *, others: bool = True) -> Commit:
        """The commit and what differs from it by now: ``hil.toml``, pytest's own config, and modules count as used."""
        if self.config is None:
            return Commit()
        configs = (self.config.path, own_checks.place(self.config.path), self.pytest_config.inipath)
        files = {*self._files, *imported(), *(path for path in configs if path is not None and path.exists())}
        return commit_of(self.config.root, files, others=others)

    def raise_problem(self) -> None:
        """Shows what stops the run, once, with its exit code; an old green report does not outlive it."""
        if self.problem is not None:
            finish_run.refuse(self, self.problem)
            if isinstance(self.problem, LabError):
                pytest.exit(f"error: {self.problem}", returncode=int(self.problem.exit_code))
            raise pytest.UsageError(str(self.problem))

    def _load(self) -> Config:
        named = self.pytest_config.getoption("hil_config", None)
        here = self.pytest_config.invocation_params.dir
        path = here / named if named else find(here) or find(self.pytest_config.rootpath, here)
        if path is None:
            raise UserError(NO_CONFIG.format(here))
        return load(path)

    def _baseline(self) -> Baseline | None:
        """What the run is compared with: read by the controller, told to its workers."""
        ref: str | None = self.pytest_config.getoption("hil_baseline", None)
        if ref is None:
            return None
        told = getattr(self.pytest_config, "workerinput", {}).get("hil_baseline")
        if told is not None:
            return Baseline.model_validate_json(told)
        if activation.lists_only(self.pytest_config):
            return Baseline(ref=ref)
        place = add_to_history.place(self)
        if place is None:
            raise UserError(f"--hil-baseline={ref} needs a history, and it is switched off: leave one of the two out")
        return load_baseline.load(place, ref, self.target)

    def _runs(self, config: Config) -> int | None:
        """How often engines are timed in processes of their own: what was asked for, or enough to compare."""
        asked: int | None = self.pytest_config.getoption("hil_runs", None)
        enough = self.baseline is None or config.spec.measure.runs > 1
        return asked if asked is not None or enough else load_baseline.RUNS

    def _scope(self) -> None:
        assert self.config is not None  # noqa: S101 - begin() loaded it
        option = self.pytest_config.getoption
        only = option("hil_model", None)
        for name in only or ():
            self.config.model(name, self.target)
        self.fates.out_of_scope = {name for name in self.config.spec.models if only and name not in only}

    # Collection

    def parametrize(self, metafunc: pytest.Metafunc) -> None:
        """Gives a hil test its cases."""
        try:
            collection.parametrize(metafunc, self.plan, self.config, self.fates)
        except UserError as error:
            self.problem = self.problem or error

    def collected(self, items: list[pytest.Item]) -> None:
        """Drops tests that no model needs; shows a mistake that was found while collecting."""
        if self.problem is not None and not self.is_worker:
            self.raise_problem()
        items[:] = [item for item in items if not collection.without_case(item)]
        self.fates.own.update((test.nodeid, test) for test in collection.own_tests(items))

    def selected(self, nodeids: list[str]) -> None:
        """Marks the report as incomplete: from here on nothing green is left from an earlier run."""
        self.fates.selected.update(nodeids)
        self.open_report()

    def open_report(self) -> None:
        """Writes the incomplete report, once. Ends the run with exit code 4 or 11 if it cannot be written."""
        if self.begun or activation.lists_only(self.pytest_config) or self.problem is not None:
            return
        if not self.is_worker:
            self._until_end.enter_context(obeyed(self.target))
        try:
            finish_run.begin(self)
            add_to_history.check(self)
        except UserError as error:
            raise pytest.UsageError(str(error)) from None
        except HilError as error:
            pytest.exit(f"error: {error}", returncode=int(error.exit_code))

    def will_run(self, items: list[pytest.Item]) -> None:
        """Learns which engines are needed. Workers build what each comes to: beside one's build another measures."""
        self._engines = [] if self.is_worker else collection.engines_of(items)

    def deselected(self, nodeids: list[str]) -> None:
        """Notes tests that the user deselected."""
        self.fates.deselected.update(nodeids)

    def noted(self, notes: dict[str, Any]) -> None:
        """Takes the notes of a worker, which read ``hil.toml`` by itself: it must have been the same."""
        self.deselected(notes["hil_deselected"])
        self.fates.own.update((nodeid, OwnTest(nodeid, *rest)) for nodeid, *rest in notes["hil_own"])
        self._files.update(map(Path, notes.get("hil_imported", ())))
        if notes.get("hil_lab"):
            self.problem = self.problem or LabError(notes["hil_lab"])
        if self.config is not None and notes["hil_config"] not in ("", _digests(self.config)):
            name = self.config.path.name
            what = f"{name} or the file of own checks was changed while the run began: its workers read another one"
            self.problem = self.problem or UserError(f"{what}: run again")

    # The bench, as the fixtures see it

    def session(self) -> Session:
        """The session with its target held, opened at the first call. Raises ``LabError``, ``UserError``."""
        if self.problem is not None:
            raise self.problem
        if self._session is None:
            assert self.config is not None  # noqa: S101 - begin() loaded it
            option = self.pytest_config.getoption
            request = Request(
                config=self.config,
                target=self.target,
                fallback=option("hil_fallback", None) or "cpu",
                wait=option("hil_wait", None) or 0.0,
                run_id=self.run_id,
                report_dir=self.report_dir,
                sources=self.sources,
                progress=self.progress,
                runs=self._runs(self.config),
                baseline=self.baseline,
            )
            self._session = Session.open(request)
            self._session.engines.ahead(self._engines)
        return self._session

    def row(self, check_id: str, case: Case) -> Row | None:
        """The row of this question and case, judged or only measured."""
        rows = (row for row in self.plan.of(check_id) if (row.model, row.precision) == case)
        return next(rows, None)

    def record(self, item: pytest.Item, outcome: Outcome) -> None:
        """Keeps an outcome until pytest's report of the test takes it along."""
        item.stash.setdefault(OUTCOMES, []).append(outcome)
        item.stash[JUDGED] = True
        item.user_properties.append((f"hil {outcome.result.name}", outcome.result.verdict.value))

    def offer(self, request: pytest.FixtureRequest, outcome: Outcome) -> None:
        """Gives pytest-benchmark, where it is in use, the series behind an outcome."""
        benchmarks.export(request, outcome, self.report_dir, self.progress)

    # Reports

    def attach(self, item: pytest.Item, call: pytest.CallInfo[None], report: pytest.TestReport) -> None:
        """Puts outcomes on pytest's report as one string, and a foreseeable error in one line."""
        collection.attach(self, item, call, report)

    def account(self, report: pytest.TestReport) -> None:
        """Enters what came with a report; a failure that no result explains is that of the user's own test."""
        if report.when not in ("setup", "call", "teardown"):
            self.fates.crashed.add(report.nodeid)
        if report.when == "teardown":
            self.fates.finished.add(report.nodeid)
        outcomes = collection.outcomes_of(report)
        for outcome, own in outcomes:
            self.accounts.enter(report.nodeid, outcome, own=own)
        if problem := collection.problem_of(report):
            self.problem = self.problem or problem
        elif report.failed and all(outcome.result.verdict in GOOD for outcome, _ in outcomes):
            self.other_tests_failed += 1

    def finish(self, session: pytest.Session) -> None:
        """Lets go of the target, then closes the accounts: report, exit code. A worker only hands in its notes."""
        self._used = self.used()
        try:
            self.close()
        except LabError as error:  # the target is not as it was found: nobody may overlook that
            self.problem = self.problem or error
        if self.is_worker:
            notes: dict[str, Any] = self.pytest_config.workeroutput  # type: ignore[attr-defined] # xdist sets it
            notes["hil_deselected"] = sorted(self.fates.deselected)
            notes["hil_own"] = [dataclasses.astuple(test) for test in self.fates.own.values()]
            notes["hil_config"] = _digests(self.config) if self.config else ""
            notes["hil_lab"] = self.error_text(ExitCode.LAB_ERROR)
            notes["hil_imported"] = sorted(map(str, imported()))
        elif not activation.lists_only(self.pytest_config):
            self.fates.stopped = str(session.shouldfail or session.shouldstop or "")
            # xdist calls it an interrupt when a worker stops for the user's or the lab's error; alone it is a failure.
            stopped = self.problem is not None and session.exitstatus == pytest.ExitCode.INTERRUPTED
            status = pytest.ExitCode.TESTS_FAILED if stopped else session.exitstatus
            # What was changed when the run began was used, whatever it is now; what was imported is known only now.
            self.commit = self.commit.and_(self._commit(others=False))
            session.exitstatus = finish_run.close(self, int(status))
            self.pytest_config.stash[activation.DECIDED] = int(session.exitstatus)

    def summarize(self, terminal: TerminalReporter) -> None:
        """Shows the decision below pytest's own lines."""
        for warning in (*(self.config.warnings if self.config else ()), *self.notes):
            terminal.write_line(f"warning: {warning}", yellow=True)
        if self.report is not None:
            config = self.config.path if self.config else None
            finish_run.show(self.report, self.report_dir, config, terminal)

    def forget(self) -> None:
        """The end of it all, however it came. Raises ``LabError`` as ``close``."""
        with self._until_end:
            self.close()

    def close(self) -> None:
        """Lets go of the target. Raises ``LabError`` as ``Session.close`` does, once."""
        session, self._session = self._session, None
        if session is not None:
            session.close()
