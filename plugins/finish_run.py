"""Ends a run: turns the accounts into a report, the report into a decision, the decision into an exit code."""

from __future__ import annotations

import contextlib
import hashlib
import os
import platform
import socket
import sys
from collections import Counter
from typing import TYPE_CHECKING, Any

from hil import __version__
from hil.advice import advised
from hil.config.spec import GateSpec
from hil.errors import ExitCode, HilError, LabError, UserError
from hil.gate.exitcode import PRECEDENCE
from hil.gate.gate import exit_code_of, judge_selection, seal
from hil.history.urls import shown_arguments
from hil.plugins import add_to_history, folder_lock, signing
from hil.plugins.interactive import earlier_report
from hil.plugins.pools.board_records import boards_of, unlike_boards, with_calibration
from hil.plugins.run_state import now
from hil.report.parts.selected import left_out_text, selected
from hil.report.schema import ConfigUsed, EngineUsed, Measured, ModelUsed, Rejected, Report, Run, TargetReport, count
from hil.report.shown_text import one_line
from hil.report.write_report import BUNDLE, REPORT, run_id_in, sealed, unfinished
from hil.report.write_report import begin as write_begin
from hil.report.write_report import finish as write_finish
from hil.results import CheckResult, TargetUse

if TYPE_CHECKING:
    from pathlib import Path

    from _pytest.terminal import TerminalReporter

    from hil.plugins.run_state import RunState
    from hil.report.schema import Status
    from hil.session.outcome import Outcome

LONGEST = 100
NO_CONFIG_DIGEST = hashlib.sha256(b"").hexdigest()


def begin(run: RunState) -> None:
    """Lock the report's folder, and write the report as ``incomplete`` over an earlier one.

    Raises ``LabError`` if another live run writes to the folder, and the errors of ``write_report.begin``.
    """
    folder_lock.lock(run)
    earlier_report.keep(run)
    use = TargetUse(requested=run.target, used=run.target)
    write_begin(
        run.report_dir,
        _report(run, unfinished((*run.plan.rows, *run.plan.own), use), status="incomplete", pytest_status=None),
    )
    run.begun = True


def unfinished_report(run: RunState) -> Report:
    """Return the ``incomplete`` report with the rows that are judged by now; the other rows are ``not_run``."""
    checks = tuple(run.accounts.close(run.states, run.used()))
    return _report(run, checks, status="incomplete", pytest_status=None)


def refuse(run: RunState, problem: HilError) -> None:
    """Replace an existing report, of an earlier run or this one, by a failed one, and delete its signature.

    If there is no report, write none. The new report states the run's earlier problem or, without one, ``problem``.
    Nothing is raised.
    """
    run.problem = run.problem or problem
    with contextlib.suppress(HilError, OSError):  # ``problem`` is reported by the caller and matters more
        if not (run.report_dir / REPORT).exists():
            return
        _ = _finish(run, int(problem.exit_code))
        (run.report_dir / BUNDLE).unlink(missing_ok=True)  # the run may have signed its earlier decision


def close(run: RunState, pytest_status: int) -> int:
    """Write and sign the report, add it to the history, and return the run's exit code.

    If the report cannot be written, print the error and return the error's exit code.
    """
    try:
        report = _finish(run, pytest_status)
    except HilError as error:
        sys.stderr.write(f"error: {error}\n")
        return int(error.exit_code)
    run.report = report
    if run.did_not_begin:
        return _exit_code(run, report)
    codes = (_exit_code(run, report), signing.sign(run))
    return add_to_history.append(
        run, report, next(int(code) for code in (*PRECEDENCE, ExitCode.PASSED) if code in codes)
    )


def _exit_code(run: RunState, report: Report) -> int:
    if run.selection:
        return judge_selection(report, run.other_tests_passed).exit_code
    full = bool(run.pytest_config.getoption("hil_gate", None))
    return exit_code_of(report, full=full)


def _finish(run: RunState, pytest_status: int) -> Report:
    run.problem = run.problem or _two_identities(_outcomes(run)) or unlike_boards(run.target, _outcomes(run))
    run.states.problem = "" if run.problem is None else str(run.problem)
    checks = tuple(run.accounts.close(run.states, run.used()))
    report = _sealed(run, checks, pytest_status)
    if not run.begun:
        begin(run)
    elif (other := run_id_in(run.report_dir / REPORT)) not in (None, run.run_id):
        what = f"{run.report_dir}: run {one_line(str(other), LONGEST)} wrote its report there during this run"
        raise LabError(f"{what}: run again, and give each run its own --hil-report=DIR")
    run.progress.during = lambda: None  # it might replace the finished report by an incomplete one
    with run.progress.step("writing the report", said=False):
        if not earlier_report.restore(run):
            write_finish(run.report_dir, report)
    return report


def _sealed(run: RunState, checks: tuple[CheckResult, ...], pytest_status: int) -> Report:
    """Return the report of the finished run, with its decision; the report of a selection has no decision."""
    if not run.selection:
        return seal(
            advised(with_calibration(run, _report(run, checks, status="complete", pytest_status=pytest_status)))
        )
    report = advised(with_calibration(run, _report(run, checks, status="partial", pytest_status=pytest_status)))
    reasons = left_out_text(report, run.selection.text), *judge_selection(report, run.other_tests_passed).reasons
    return sealed(report.model_copy(update={"reasons": reasons}))


def _outcomes(run: RunState) -> list[Outcome]:
    return [*(outcome for _, outcome in run.accounts.outcomes.values()), *run.accounts.unlimited.values()]


def _report(run: RunState, checks: tuple[CheckResult, ...], *, status: Status, pytest_status: int | None) -> Report:
    outcomes = _outcomes(run)
    target = next((outcome.target for outcome in outcomes if outcome.target), {})
    use = run.used()
    return Report(
        status=status,
        totals=count(checks),
        checks=checks,
        run=_run(run, pytest_status),
        config=_config(run),
        policy=run.config.spec.gate if run.config else GateSpec(),
        target=TargetReport(
            requested=use.requested,
            used=use.used,
            kind=str(target.get("kind", "unknown")),
            fallback_reason=target.get("fallback_reason"),
            facts=target.get("facts", {}),
            board=target.get("board"),
            contract=target.get("contract"),
            boards=boards_of(outcomes, run.lost_boards),
        ),
        measurements=tuple(
            _measured(outcome) for outcome in run.accounts.unlimited.values() if outcome.result.measurement
        ),
        methods={digest: facts for outcome in outcomes for digest, facts in outcome.methods.items()},
        environments={digest: facts for outcome in outcomes for digest, facts in outcome.environments.items()},
        engines=tuple(_engines(outcomes)),
        models=tuple(_models(outcomes)),
        rejected=tuple(
            Rejected(id=r.id, model=r.model, precision=r.precision, reason=r.reason) for r in run.accounts.rejected
        ),
        attempts=tuple(run.attempts),
    )


def _measured(outcome: Outcome) -> Measured:
    result = outcome.result
    assert result.measurement is not None  # noqa: S101 - for type checkers; the caller filters
    return Measured(
        id=result.id,
        model=result.model,
        precision=result.precision,
        scenario=result.scenario,
        measurement=result.measurement,
        details=result.details,
        board=result.board,
    )


def _engines(outcomes: list[Outcome]) -> list[EngineUsed]:
    """Return each engine once. Facts from a process that loaded the engine replace facts from its build alone."""
    engines: dict[tuple[str, str, str], dict[str, Any]] = {}
    for engine in (each for outcome in outcomes for each in outcome.engines):
        key = (engine["model"], engine["precision"], engine["digest"])
        if key not in engines or "loaded" in engine["about"] or "loaded" not in engines[key]["about"]:
            engines[key] = engine
    return [EngineUsed.model_validate(engine) for engine in engines.values()]


def _models(outcomes: list[Outcome]) -> list[ModelUsed]:
    models = {model["name"]: model for outcome in outcomes for model in outcome.models}
    return [ModelUsed.model_validate({**model, "parts": tuple(model["parts"])}) for model in models.values()]


def _two_identities(outcomes: list[Outcome]) -> UserError | None:
    """Return an error if two xdist workers read different contents of one model's files; ``None`` if not."""
    models = {(model["name"], model["identity"]) for outcome in outcomes for model in outcome.models}
    twice = [name for name, times in Counter(name for name, _ in models).items() if times > 1]
    what = "was changed while the run read it: do not change its files, and run again"
    return UserError(f"model {twice[0]} {what}") if twice else None


def _run(run: RunState, pytest_status: int | None) -> Run:
    return Run(
        id=run.run_id,
        started=run.started,
        finished=None if pytest_status is None else now(),
        hil_version=__version__,
        python=platform.python_version(),
        platform=platform.platform(),
        host=socket.gethostname(),
        arguments=shown_arguments(str(arg) for arg in run.pytest_config.invocation_params.args),
        pytest_exit_status=pytest_status,
        lab_error=run.error_text(ExitCode.LAB_ERROR),
        user_error=run.error_text(ExitCode.USER_ERROR),
        other_tests_failed=run.other_tests_failed,
        failed_tests=tuple(run.failed_tests),
        commit=run.commit.sha,
        dirty=run.commit.dirty,
        changed=run.commit.changed,
    )


def _config(run: RunState) -> ConfigUsed:
    if run.config is None:
        return ConfigUsed(path="", digest=NO_CONFIG_DIGEST)
    folder = run.pytest_config.invocation_params.dir
    return ConfigUsed(
        path=os.path.relpath(run.config.path, folder),
        digest=run.config.digest,
        checks=run.config.checks_digest,
        guessed={name: model.guessed for name, model in run.config.spec.models.items() if model.guessed},
    )


def show(report: Report, folder: Path, config: Path | None, terminal: TerminalReporter) -> None:
    """Print the decision and the table of results into pytest's summary; under a CI system, also its annotations."""
    from hil.report import ci
    from hil.report.terminal import as_text

    width = terminal._tw.fullwidth  # noqa: SLF001 - pytest has no public access to the width
    color = terminal._tw.hasmarkup  # noqa: SLF001 - as above
    terminal.section("hil", cyan=True, bold=True)
    with ci.workflow_commands_off(os.environ, terminal.write_line):
        terminal.write(as_text(selected(report), width=width, color=color))
    terminal.write_line(f"report: {os.path.relpath(folder / 'report.html')}")
    if (bundle := folder / BUNDLE).exists():
        terminal.write_line(f"signed: {os.path.relpath(bundle)}")
    ci.announce(report, folder, config, os.environ, terminal.write_line)
