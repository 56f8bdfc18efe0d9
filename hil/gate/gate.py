"""The gate: a policy applied to a report. The same report gives the same decision anywhere.

``judge`` is pure; ``seal`` writes its decision into a report, ``open_report`` reads one back and judges
it again, so that a recorded decision is never believed.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from hil.errors import ExitCode, ReportRefused
from hil.gate.exitcode import Facts, exit_code
from hil.gate.rule_outcome import RuleOutcome, first
from hil.gate.rules import required_rows
from hil.gate.rules import rules as asked
from hil.report.read_report import collector_paused, read
from hil.report.schema import Decided, Report, count
from hil.report.write_report import sealed
from hil.results import Verdict

if TYPE_CHECKING:
    from pathlib import Path

    from hil.config.spec import GateSpec
    from hil.gate.demands import Circumstances


@dataclass(frozen=True)
class Decision:
    """PASSED, WARNED or FAILED, the exit code that says so, and why; ``rules`` in the order judged."""

    status: Decided
    exit_code: int
    reasons: tuple[str, ...]
    rules: tuple[RuleOutcome, ...]


def judge(report: Report, policy: GateSpec, *, full: bool = True, around: Circumstances | None = None) -> Decision:
    """Judges ``report`` by ``policy``. Without ``full`` (pytest without ``--hil-gate``) evidence is not judged.

    ``around`` has the moment and the signature. Without it neither age nor signature is judged: that is the report's
    own decision, which stays the same for ever.
    """
    required = required_rows(report, policy)
    rules = tuple(asked(report, policy, required, full=full, around=around))
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
        return Decision("WARNED", code, (*first(warned, "more warnings"), *notes), rules)
    return Decision("PASSED", code, (_good_news(report, len(required)),), rules)


def seal(report: Report) -> Report:
    """The finished run's report: complete, counted, judged by its own policy, with its digest.

    The policy is recorded with what it leaves to defaults written out, so that the decision stays the same for ever.
    Raises ``HilError`` if the report contradicts itself.
    """
    policy = report.policy.model_copy(update={"clean": report.policy.requires_clean})
    counted = report.model_copy(update={"status": "complete", "totals": count(report.checks), "policy": policy})
    decision = judge(counted, policy)
    found = {"decision": decision.status, "exit_code": decision.exit_code, "reasons": decision.reasons}
    return sealed(counted.model_copy(update=found))


def exit_code_of(report: Report, *, full: bool) -> int:
    """The exit code of the run in ``report``, by its own policy; ``full`` under ``--hil-gate``."""
    return judge(report, report.policy, full=full).exit_code


def open_report(path: Path) -> Report:
    """Reads a report and judges it again: what was recorded must be what its own rows give.

    Raises as ``hil.report.read_report.read`` does; ``ReportRefused`` if the decision was edited.
    """
    with collector_paused():
        report = read(path)
        verify(report, str(path))
        return report


def verify(report: Report, name: str = "report.json") -> None:
    """Raises ``ReportRefused`` unless the recorded status and exit code are those that the report itself gives.

    The reasons are text, which another version may word otherwise.
    """
    if report.status == "incomplete":
        return
    decision = judge(report, report.policy)
    if (decision.status, decision.exit_code) != (report.decision, report.exit_code):
        recorded = f"recorded is {report.decision} (exit code {report.exit_code})"
        gives = f"its rows give {decision.status} (exit code {decision.exit_code})"
        raise ReportRefused(f"{name}: refused, edited: {recorded}, {gives}: run the checks again")


def _notes(report: Report) -> tuple[str, ...]:
    names = [model.name for model in report.models if model.synthetic]
    return (f"synthetic data says nothing about accuracy: {', '.join(names)}",) if names else ()


def _good_news(report: Report, required: int) -> str:
    kinds = sorted({check.evidence.value for check in report.checks if check.evidence})
    return f"all {required} required checks passed on {report.target.used}, evidence {', '.join(kinds) or 'none'}"
