"""Contains the rules of the gate. Each is a pure function of its arguments and states its finding in one line."""

from __future__ import annotations

from typing import TYPE_CHECKING

from hil.catalogue import CATALOGUE
from hil.config.policy import matches, named_by
from hil.errors import ExitCode
from hil.gate.demands import Circumstances, demands, guess_problem, outside
from hil.gate.rule_outcome import NAMED, RuleOutcome, outcome
from hil.plan import must_exist
from hil.report.schema import Report, count
from hil.results import EVIDENCE_RANK, Cause, CheckResult, Evidence, Verdict

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from hil.config.spec import GateSpec
    from hil.report.schema import Measured

NOT_WHOLE = {
    "incomplete": "the run did not finish: its report is incomplete",
    "partial": "the run judged only a selection of the tests, which no gate accepts",
}
EXIST = "required checks exist"
"""The rule that is not applied to a selection of tests, which may lack required checks."""


UNSETTLED = (Verdict.FAILED, Verdict.INCONCLUSIVE)


def required_rows(report: Report, policy: GateSpec) -> tuple[CheckResult, ...]:
    """Return the rows that ``policy`` requires, and those that the run required for other reasons.

    A run requires all checks of the project's own tests.
    """
    if policy == report.policy:
        # Rows that the recorded policy requires carry the flag ``required``, which is cheaper than matching patterns.
        return tuple(check for check in report.checks if check.required or _named_by(policy, check))
    return tuple(
        check
        for check in report.checks
        if _named_by(policy, check) or (check.required and not _named_by(report.policy, check))
    )


def _named_by(policy: GateSpec, check: CheckResult) -> bool:
    return named_by(policy.require, check.id, check.model, check.precision)


def rules(
    report: Report,
    policy: GateSpec,
    required: Sequence[CheckResult],
    *,
    full: bool,
    around: Circumstances | None = None,
) -> Iterator[RuleOutcome]:
    """Yield the outcome of every rule, in the order in which reasons are shown.

    ``required`` is the result of ``required_rows``. ``full`` and ``around`` as for ``hil.gate.gate.judge``.
    """
    fell_back = _fell_back(report)
    yield _complete(report)
    yield _target(report)
    yield _totals(report)
    yield from _ended(report)
    yield _failures(report)
    yield from _required(report, policy, required, fell_back=fell_back)
    yield _warnings(report, policy)
    yield _guesses(report, policy, full=full, release=around is not None and around.release)
    yield _rejected(report)
    yield _attempts(report)
    yield _others(report)
    if full:
        yield _evidence(required, policy, fell_back=fell_back)
        yield _real_data(report, policy)
        yield from demands(report, policy, required)
    yield from outside(report, policy, around)


def _named(what: str, checks: Sequence[CheckResult]) -> list[str]:
    """Return one line, in a list, with the number of ``checks``, ``what`` they are, and the first names and causes.

    The list is empty if there are no checks.
    """
    return _listed(what, [check.name + (f" ({check.cause.value})" if check.cause else "") for check in checks])


def _listed(what: str, names: Sequence[str]) -> list[str]:
    more = f" and {len(names) - NAMED} more" if len(names) > NAMED else ""
    return [f"{len(names)} {what}: {', '.join(names[:NAMED])}{more}"] if names else []


def _fell_back(report: Report) -> bool:
    return report.target.requested != report.target.used


def _complete(report: Report) -> RuleOutcome:
    return outcome("complete", [NOT_WHOLE[report.status]] if report.status in NOT_WHOLE else [], "the run finished")


def _target(report: Report) -> RuleOutcome:
    target = report.target
    elsewhere = sorted({check.target.used for check in report.checks} - {target.requested})
    wrong = []
    if _fell_back(report) or elsewhere:
        used = target.used if _fell_back(report) else ", ".join(elsewhere)
        why = f": {target.fallback_reason}" if target.fallback_reason else ""
        wrong = [f"requested target {target.requested}, used {used}{why}"]
    return outcome("target", wrong, f"the requested target {target.requested} was used", ExitCode.OTHER_TARGET)


def _totals(report: Report) -> RuleOutcome:
    ok = report.totals == count(report.checks)
    good = f"{report.totals.planned} checks planned, and the totals add up"
    return outcome("totals", [] if ok else ["totals do not add up"], good)


def _ended(report: Report) -> Iterator[RuleOutcome]:
    """Yield three outcomes: whether a user error, a lab error or an unusual exit status of pytest ended the run."""
    for rule, error, code in (
        ("config", report.run.user_error, ExitCode.USER_ERROR),
        ("lab", report.run.lab_error, ExitCode.LAB_ERROR),
    ):
        wrong = [] if error is None else [error or f"the run ended with a {rule} error"]
        yield outcome(rule, wrong, "no error", code)
    status = report.run.pytest_exit_status
    # Code 0: Facts.pytest_status already decides the exit code of such a run.
    unusual = status not in (None, 0, 1) and [f"pytest itself ended with status {status}"]
    yield outcome("pytest", unusual or [], "pytest finished normally", code=ExitCode.PASSED)


def _required(
    report: Report, policy: GateSpec, required: Sequence[CheckResult], *, fell_back: bool
) -> Iterator[RuleOutcome]:
    missing = [
        f"{pattern!r} is required but matches no check: correct require in [gate]"
        for pattern in policy.require
        if not any(matches(pattern, check.id, check.model, check.precision) for check in report.checks)
    ]
    if not required or not policy.require:
        missing.append("the policy requires no checks: name some in require of [gate]")
    missing += _listed("required but not judged, because a limit or a baseline is missing", _absent(report, policy))
    yield outcome(EXIST, missing, f"{len(required)} required checks")
    not_run = [check for check in required if check.verdict is Verdict.NOT_RUN]
    fallback = [check for check in not_run if fell_back and check.cause is Cause.FALLBACK]
    others = [check for check in not_run if not (fell_back and check.cause is Cause.FALLBACK)]
    wrong = _named("required but not run", others)
    yield outcome("required checks run", wrong, f"{len(required) - len(fallback)} required checks were judged")
    lines = [f"{len(fallback)} required checks need {report.target.requested}"] if fallback else []
    yield outcome("required on the target", lines, "no check was left out by a fallback", ExitCode.OTHER_TARGET)


def _absent(report: Report, policy: GateSpec) -> list[str]:
    """Return the names of rows that ``policy`` requires for the report's models and precisions but the report lacks."""
    planned = {(check.id, check.model, check.precision) for check in report.checks}
    missing = (row for row in must_exist(policy.require, _models(report)) if row not in planned)
    return [" ".join(row) for row in missing]


def _models(report: Report) -> dict[tuple[str, str], frozenset[str]]:
    """Return the ids of the checks that were planned or measured, by model and precision of the report.

    A model without such checks has an empty set for each precision of its engines, or for "" without engines.
    """
    ids: dict[tuple[str, str], set[str]] = {}
    rows: list[CheckResult | Measured] = [*report.checks, *report.measurements]
    for row in rows:
        if row.id in CATALOGUE and row.model and row.precision:
            ids.setdefault((row.model, row.precision), set()).add(row.id)
    named = {model for model, _ in ids}
    # An engine may exist only for comparison, in a precision that is not judged. It counts only for a model that has
    # no rows.
    for engine in report.engines:
        if engine.model not in named:
            ids.setdefault((engine.model, engine.precision), set())
    named = {model for model, _ in ids}
    ids.update({(model.name, ""): set() for model in report.models if model.name not in named})
    return {key: frozenset(names) for key, names in ids.items()}


def _failures(report: Report) -> RuleOutcome:
    failed = [check for check in report.checks if check.verdict is Verdict.FAILED]
    unsettled = [check for check in report.checks if check.verdict is Verdict.INCONCLUSIVE]
    bad = [*_named("failed", failed), *_named("inconclusive", unsettled)]
    return outcome("verdicts", bad, "no check failed or was inconclusive")


def _warnings(report: Report, policy: GateSpec) -> RuleOutcome:
    warned = [check for check in report.checks if check.verdict is Verdict.WARNED]
    if policy.warnings:
        return outcome("warnings", [], f"{len(warned)} warnings, which the policy allows")
    return outcome("warnings", _named("warned, but the policy allows no warnings", warned), "no warnings")


def _guesses(report: Report, policy: GateSpec, *, full: bool, release: bool) -> RuleOutcome:
    """Return the outcome of the rule on guessed declarations.

    Any guess violates the rule in each of these cases: ``release`` is true; the policy allows no warnings; ``full`` is
    true and the policy requires better evidence than ``host``.
    """
    problem = guess_problem(report)
    strict = release or not policy.warnings or (full and policy.evidence != "host")
    good = f"{problem}, which the policy allows" if problem else "no declaration of hil.toml is a guess"
    return outcome("guesses", [problem] if problem and strict else [], good)


def _rejected(report: Report) -> RuleOutcome:
    wrong = [f"{row.id} {row.model} {row.precision}".strip() + f": rejected: {row.reason}" for row in report.rejected]
    return outcome("results", wrong, "every result belongs to a planned check")


def _attempts(report: Report) -> RuleOutcome:
    """Return the outcome of the rule that attempts whose board was lost have no failed or inconclusive row."""
    rows = [(row, attempt) for attempt in report.attempts for row in attempt.rows if row.verdict in UNSETTLED]
    names = [f"{row.id} {row.model} {row.precision} on {attempt.board} ({row.verdict.value})" for row, attempt in rows]
    wrong = _listed("did not pass on a board that was lost afterwards: run again", names)
    return outcome("attempts", wrong, "no check failed on a board that was lost afterwards")


def _others(report: Report) -> RuleOutcome:
    failed = report.run.other_tests_failed
    named = [test.test for test in report.run.failed_tests]
    what = f"{failed} other test{'s' if failed > 1 else ''} of the same run failed"
    wrong = [", ".join([what, *named[:NAMED]]).replace(",", ":", 1)] if failed else []
    if not wrong and report.run.pytest_exit_status == 1 and not _explained(report):
        wrong = ["pytest ended with status 1, but no check explains it"]
    return outcome("other tests", wrong, "no other test failed")


def _explained(report: Report) -> bool:
    good = (Verdict.PASSED, Verdict.WARNED)
    void = any(row.verdict in UNSETTLED for attempt in report.attempts for row in attempt.rows)
    return void or bool(report.rejected) or any(check.verdict not in good for check in report.checks)


def _evidence(required: Sequence[CheckResult], policy: GateSpec, *, fell_back: bool) -> RuleOutcome:
    judged = [check for check in required if check.verdict is not Verdict.NOT_RUN]
    needed = EVIDENCE_RANK[Evidence(policy.evidence)]
    weak = [check for check in judged if evidence_rank(check) < min(needed, best_rank(check))]
    kinds = sorted({check.evidence.value if check.evidence else "none" for check in weak})
    wrong = [f"evidence {policy.evidence} is required, but {len(weak)} checks have {', '.join(kinds)}"] if weak else []
    # After a fallback no check can have the board's evidence: the run gets the fallback's exit code, not FAILED.
    only_fallback = fell_back and all(check.evidence is Evidence.CPU_FALLBACK for check in weak)
    code = ExitCode.OTHER_TARGET if only_fallback else ExitCode.FAILED
    return outcome("evidence", wrong, f"{policy.evidence} or better for {len(judged)} required checks", code)


def evidence_rank(check: CheckResult) -> int:
    """Return the rank of a row's evidence (``EVIDENCE_RANK``); -1 for a row without evidence.

    ``device`` counts as ``host`` if the row's work did not run on a GPU or DLA.
    """
    if check.evidence is None:
        return -1
    on_board = check.executed_on is not None and check.executed_on.kind in ("gpu", "dla")
    if check.evidence is Evidence.DEVICE and not on_board:
        return EVIDENCE_RANK[Evidence.HOST]
    return EVIDENCE_RANK[check.evidence]


def best_rank(check: CheckResult) -> int:
    """Return the rank of the best evidence that a check of this kind can have, according to the catalogue."""
    kind = CATALOGUE.get(check.id)
    return EVIDENCE_RANK[Evidence.HOST if kind is not None and kind.on_host else Evidence.DEVICE]


def _real_data(report: Report, policy: GateSpec) -> RuleOutcome:
    names = [model.name for model in report.models if model.synthetic]
    strict = policy.evidence != "host" or not policy.warnings
    wrong = [f"synthetic data says nothing about accuracy: {', '.join(names)}"] if names and strict else []
    return outcome("data", wrong, "synthetic data, which the policy allows" if names else "real data")
