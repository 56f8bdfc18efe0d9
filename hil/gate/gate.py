"""The gate: judges a report by a policy.

``judge`` returns the decision, ``seal`` writes it into a report, and ``open_report`` reads a report and judges it
again.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from hil.errors import ExitCode, ReportRefused
from hil.gate.demands import guess_problem
from hil.gate.exitcode import Facts, exit_code
from hil.gate.rule_outcome import RuleOutcome, first, outcome
from hil.gate.rules import EXIST, required_rows
from hil.gate.rules import rules as judge_rules
from hil.report.parts.selected import selected
from hil.report.read_report import collector_paused, read
from hil.report.schema import Decided, Report, count
from hil.report.write_report import sealed
from hil.results import CLAIM, Verdict

if TYPE_CHECKING:
    from pathlib import Path

    from hil.config.spec import GateSpec
    from hil.gate.demands import Circumstances


@dataclass(frozen=True)
class Decision:
    """A decision. ``status`` is PASSED, WARNED or FAILED; ``rules`` has the outcome of each rule, in order."""

    status: Decided
    exit_code: int
    reasons: tuple[str, ...]
    rules: tuple[RuleOutcome, ...]


def judge(report: Report, policy: GateSpec, *, full: bool = True, around: Circumstances | None = None) -> Decision:
    """Return the decision on ``report`` by ``policy``.

    ``full=False`` (pytest without ``--hil-gate``) leaves out the rules on evidence and synthetic data, and the optional
    rules. ``around=None`` leaves out the rules that depend on time, signature and requests.
    """
    required = required_rows(report, policy)
    rules = tuple(judge_rules(report, policy, required, full=full, around=around))
    return _decision(report, rules, f"all {len(required)} required checks passed")


def judge_selection(report: Report, other_tests: int) -> Decision:
    """Return the decision on the tests that the user selected: on the rows of ``report`` that were not deselected.

    The decision determines only pytest's exit code. It is FAILED also if no selected row has a verdict and
    ``other_tests``, the number of passed tests without a row, is 0.
    """
    part = selected(report).model_copy(update={"status": "complete"})
    rules = judge_rules(part, part.policy, required_rows(part, part.policy), full=False)
    good = sum(check.verdict in {Verdict.PASSED, Verdict.WARNED} for check in part.checks)
    bad = any(check.verdict in {Verdict.FAILED, Verdict.INCONCLUSIVE} for check in part.checks)
    nothing = [] if good or bad or other_tests else ["nothing was judged: no selected test gave a verdict"]
    judged = outcome("judged", nothing, f"{good} checks and {other_tests} other tests passed")
    number, what = (good, "check") if good else (other_tests, "test")
    passed = f"the selected {what} passed" if number == 1 else f"all {number} selected {what}s passed"
    return _decision(part, (judged, *(rule for rule in rules if rule.rule != EXIST)), passed)


def _decision(report: Report, rules: tuple[RuleOutcome, ...], passed: str) -> Decision:
    """Return the decision on ``report`` by the outcomes of ``rules``; ``passed`` is the reason of a pass."""
    code = exit_code(
        Facts(
            pytest_status=report.run.pytest_exit_status,
            planned=report.totals.planned,
            user_error=report.run.user_error is not None,
            lab_error=report.run.lab_error is not None,
            failed=any(rule.code == ExitCode.FAILED for rule in rules),
            other_target=any(rule.code == ExitCode.OTHER_TARGET for rule in rules),
        )
    )
    notes = _notes(report)
    broken = tuple(rule.saw for rule in rules if not rule.ok)
    if code or broken:
        return Decision("FAILED", code or int(ExitCode.FAILED), broken or (f"pytest ended with status {code}",), rules)
    warned = tuple(f"{check.name}: {check.reason}" for check in report.checks if check.verdict is Verdict.WARNED)
    if warned or notes:
        return Decision("WARNED", code, (*first(warned, "more warnings"), *notes, *_weaker(report)), rules)
    return Decision("PASSED", code, (_pass_reason(report, passed), *_weaker(report)), rules)


def seal(report: Report) -> Report:
    """Return the report of a finished run: complete, with totals, its decision by its own policy, and its digest.

    A default of the policy's key ``clean`` is recorded, so that later versions give the same decision. Raises
    ``HilError`` if the report contradicts itself.
    """
    policy = report.policy.model_copy(update={"clean": report.policy.requires_clean})
    counted = report.model_copy(update={"status": "complete", "totals": count(report.checks), "policy": policy})
    decision = judge(counted, policy)
    update = {"decision": decision.status, "exit_code": decision.exit_code, "reasons": decision.reasons}
    return sealed(counted.model_copy(update=update))


def exit_code_of(report: Report, *, full: bool) -> int:
    """Return the exit code with which pytest ends the run of ``report``: judged by the report's own policy.

    ``full`` is as for ``judge``.
    """
    return judge(report, report.policy, full=full).exit_code


def open_report(path: Path) -> Report:
    """Return the report in ``path`` (file or folder) after judging it again.

    Raises as ``hil.report.read_report.read`` does, and ``ReportRefused`` if the recorded decision differs from the
    one that the report's rows give.
    """
    with collector_paused():
        report = read(path)
        verify(report, str(path))
        return report


def verify(report: Report, name: str = "report.json") -> None:
    """Raise ``ReportRefused`` if the recorded decision or exit code differs from what the report's rows give.

    An incomplete or partial report has no decision and is accepted. ``name`` names the report in the message.
    """
    if report.status != "complete":
        return
    decision = judge(report, report.policy)
    if (decision.status, decision.exit_code) != (report.decision, report.exit_code):
        recorded = f"it records {report.decision} (exit code {report.exit_code})"
        judged = f"its rows give {decision.status} (exit code {decision.exit_code})"
        raise ReportRefused(f"{name}: refused, edited: {recorded}, but {judged}: run the checks again")


def _notes(report: Report) -> tuple[str, ...]:
    names = [model.name for model in report.models if model.synthetic]
    synthetic = f"synthetic data says nothing about accuracy: {', '.join(names)}" if names else ""
    return tuple(note for note in (synthetic, guess_problem(report)) if note)


def _weaker(report: Report) -> tuple[str, ...]:
    """Return a line for each check that passed by a claim weaker than its tolerances, as the config allows.

    Only the first ``NAMED`` checks are listed; a last line counts the others.
    """
    passed = (check for check in report.checks if check.verdict is Verdict.PASSED)
    claims = [f"{check.name}: only {check.details[CLAIM]}" for check in passed if CLAIM in check.details]
    return tuple(first(claims, "more weaker claims"))


def _pass_reason(report: Report, passed: str) -> str:
    kinds = sorted({check.evidence.value for check in report.checks if check.evidence})
    return f"{passed} on {report.target.used}, evidence {', '.join(kinds) or 'none'}"
