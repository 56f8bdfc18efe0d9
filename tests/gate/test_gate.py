from __future__ import annotations

from datetime import datetime
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hil.checks.task import no_disagreement
from hil.config.spec import GateSpec
from hil.errors import HilError, ReportRefused
from hil.gate.demands import Circumstances
from hil.gate.gate import exit_code_of, judge, judge_selection, open_report, seal, verify
from hil.report.schema import Rejected, Report, TargetReport, VoidAttempt, VoidRow, count
from hil.report.write_report import begin, finish, sealed, unfinished
from hil.results import Cause, CheckResult, Evidence, ExecutedOn, TargetUse, Verdict
from tests.report import sample

if TYPE_CHECKING:
    from pathlib import Path

NOT_RUN: dict[str, Any] = {"verdict": Verdict.NOT_RUN, "evidence": None, "executed_on": None, "engine": None}
ALLOWED = GateSpec(require=("*",), evidence="host", warnings=True)


def in_every_row(**changes: Any) -> Report:
    """Return a good draft with ``changes`` in each row."""
    rows = tuple(row.model_copy(update=changes) for row in sample.checks())
    return sample.draft(rows)


def test_a_good_run_passes() -> None:
    """A run passes if all required checks passed with the required evidence on the requested target."""
    report = sample.passed()
    assert (report.decision, report.exit_code) == ("PASSED", 0)
    assert all(rule.ok for rule in judge(report, report.policy).rules)


def test_a_large_fleet_passes() -> None:
    """A report of 40 models in 3 precisions passes: the gate does not limit their number."""
    assert sample.large().decision == "PASSED"


@pytest.mark.parametrize("required", [True, False])
@pytest.mark.parametrize("verdict", [Verdict.FAILED, Verdict.INCONCLUSIVE])
def test_a_bad_verdict_fails_required_or_not(verdict: Verdict, *, required: bool) -> None:
    """A failed or inconclusive check fails the gate, whether or not the policy requires it."""
    name = "parity.outputs" if required else "latency.p50"
    report = seal(sample.with_row(sample.draft(), name, verdict=verdict, reason="no"))
    assert (report.decision, report.exit_code) == ("FAILED", 1)
    assert name in report.reasons[0]


def test_a_required_check_that_did_not_run_fails() -> None:
    """A required ``not_run`` row fails the gate for every cause but ``fallback``."""
    for cause in set(Cause) - {Cause.FALLBACK}:
        report = seal(sample.with_row(sample.draft(), "parity.outputs", **NOT_RUN, cause=cause, reason="lost"))
        assert (report.decision, report.exit_code) == ("FAILED", 1), cause


def test_an_optional_check_may_be_left_out() -> None:
    """A row that the policy does not require may be ``not_run``."""
    report = sample.with_row(sample.draft(), "latency.p50", **NOT_RUN, cause=Cause.DESELECTED, reason="-k")
    assert seal(report).decision == "PASSED"


@pytest.mark.parametrize("missing", ["parity.outputs", "memory.peak"])
def test_a_pattern_without_a_check_fails(missing: str) -> None:
    """A required pattern that matches no row, because a test or limit was deleted, fails the gate."""
    rows = tuple(row for row in sample.checks() if row.id.split(".")[0] != missing.split(".", maxsplit=1)[0])
    report = seal(sample.draft(rows))
    assert (report.decision, report.exit_code) == ("FAILED", 1)
    assert "matches no check" in report.reasons[0]


def test_patterns_narrow_by_model_and_precision() -> None:
    """A pattern ``id model precision`` requires that precision only."""
    report = sample.with_row(sample.draft(), "parity.outputs", **NOT_RUN, cause=Cause.OUT_OF_SCOPE, reason="x")
    optional = report.model_copy(
        update={"checks": tuple(c.model_copy(update={"required": False}) for c in report.checks)}
    )
    for pattern, good in (("parity.outputs digits int8", True), ("parity.outputs digits fp32", False)):
        policy = GateSpec(require=(pattern,), evidence="host")
        sealed_report = seal(optional.model_copy(update={"policy": policy, "checks": tuple(flagged(optional, policy))}))
        assert (sealed_report.decision == "PASSED") is good, pattern


def flagged(report: Report, policy: GateSpec) -> list[CheckResult]:
    """Return the rows with ``required`` set as a plan under ``policy`` sets it."""
    required = [tuple(pattern.split()) for pattern in policy.require]
    return [
        row.model_copy(update={"required": (row.id, row.model, row.precision) in required}) for row in report.checks
    ]


def test_warnings_pass_only_where_allowed() -> None:
    """A ``warned`` row has exit code 0 if ``warnings = true``, else 1, with or without ``--hil-gate``."""
    draft = sample.with_row(sample.draft(), "parity.data", verdict=Verdict.WARNED, reason="few samples")
    strict, lenient = (
        seal(draft),
        seal(draft.model_copy(update={"policy": sample.POLICY.model_copy(update={"warnings": True})})),
    )
    assert (strict.decision, strict.exit_code) == ("FAILED", 1)
    assert (lenient.decision, lenient.exit_code) == ("WARNED", 0)
    assert exit_code_of(strict, full=False) == 1


@pytest.mark.parametrize(
    ("evidence", "executed", "required", "good"),
    [
        ("host", "cpu", "host", True),
        ("host", "cpu", "emulated", False),
        ("host", "cpu", "device", False),
        ("emulated", "cpu", "emulated", True),
        ("emulated", "cpu", "device", False),
        ("host", "gpu", "device", False),
    ],
)
def test_evidence_is_judged_by_rank(evidence: str, executed: str, required: str, *, good: bool) -> None:
    """Evidence better than required passes, weaker evidence fails, whatever processor a row names."""
    report = in_every_row(evidence=Evidence(evidence), executed_on=ExecutedOn(kind=executed, name="x"))
    policy = sample.POLICY.model_copy(update={"evidence": required})
    sealed_report = seal(report.model_copy(update={"policy": policy}))
    assert sealed_report.exit_code == (0 if good else 1)
    assert exit_code_of(sealed_report, full=False) == 0


@pytest.mark.parametrize("kind", ["gpu", "dla"])
def test_a_confirmed_board_has_evidence_device(kind: str) -> None:
    """Engines on the declared board satisfy ``device``; checks that run on the host need not run on it."""
    report = seal(sample.on_board(sample.H200.model_copy(update={"kind": kind})))
    assert (report.decision, report.exit_code) == ("PASSED", 0)
    assert {row.id for row in report.checks if row.evidence is Evidence.HOST} == sample.ON_HOST


def test_only_host_checks_of_the_catalogue_may_run_off_the_device() -> None:
    """A row that claims to have run on the host's CPU does not satisfy ``device``, unless the catalogue allows it."""
    on_host = {"evidence": Evidence.HOST, "executed_on": ExecutedOn(kind="cpu", name="AMD EPYC 9004")}
    for name in ("contract.signature", "parity.outputs", "latency.p99", "memory.peak"):
        report = seal(sample.with_row(sample.on_board(), name, **on_host))
        assert (report.decision, report.exit_code) == ("FAILED", 1), name
        assert "evidence device is required, but 1 checks have host" in report.reasons


@pytest.mark.parametrize("evidence", [None, Evidence.CPU_FALLBACK])
def test_checks_on_the_host_need_evidence(evidence: Evidence | None) -> None:
    """A check that runs only on the host still needs evidence, and a fallback does not excuse it."""
    report = sample.with_row(sample.on_board(), "parity.data", evidence=evidence)
    assert judge(report, report.policy).exit_code == 1


def test_evidence_device_is_verified_by_the_processor() -> None:
    """A row whose work ran on a CPU does not have evidence ``device``, whatever it claims."""
    report = sample.with_row(sample.on_board(), "latency.p99", executed_on=ExecutedOn(kind="cpu", name="AMD EPYC 9004"))
    assert judge(report, report.policy).exit_code == 1


def test_a_row_without_evidence_fails() -> None:
    """A required row without evidence satisfies no policy."""
    assert seal(in_every_row(evidence=None)).exit_code == 1


@pytest.mark.parametrize("evidence", ["host", "emulated"])
def test_synthetic_data_never_passes_without_a_warning(evidence: str) -> None:
    """Synthetic data warns under a ``host`` policy that allows warnings, and fails under any other."""
    row = {"evidence": Evidence.EMULATED}
    draft = in_every_row(**row).model_copy(
        update={"models": (sample.model("digits", synthetic=True), sample.model("arm"))}
    )
    for warnings in (False, True):
        policy = sample.POLICY.model_copy(update={"warnings": warnings, "evidence": evidence})
        report = seal(draft.model_copy(update={"policy": policy}))
        assert report.decision == ("WARNED" if warnings and evidence == "host" else "FAILED")
        assert "synthetic" in " ".join(report.reasons)


def test_a_rejected_result_fails() -> None:
    """A result with an unknown id, or a second result for a row, fails the gate."""
    for name, reason in (("latency.p98", "no such row was planned"), ("latency.p99", "judged twice")):
        rejected = (Rejected(id=name, model="digits", precision="fp32", reason=reason),)
        assert seal(sample.draft(rejected=rejected)).exit_code == 1, name


@pytest.mark.parametrize(
    ("changes", "code"),
    [
        ({"other_tests_failed": 1, "pytest_exit_status": 1}, 1),
        ({"other_tests_failed": 1}, 1),
        ({"pytest_exit_status": 1}, 1),
        ({"pytest_exit_status": 2}, 2),
        ({"pytest_exit_status": 3}, 3),
        ({"pytest_exit_status": 5}, 1),
        ({"pytest_exit_status": 6}, 6),
        ({"user_error": "hil.toml:3: no"}, 4),
        ({"user_error": ""}, 4),
        ({"lab_error": "the target is held by somebody"}, 11),
        ({"lab_error": "lost", "pytest_exit_status": 2}, 2),
    ],
)
def test_an_error_that_ended_the_run_decides(changes: dict[str, Any], code: int) -> None:
    """A failed test, an error or a failing exit status of pytest fails the run, even if all rows passed."""
    report = seal(sample.draft(run=sample.run(**changes)))
    assert (report.decision, report.exit_code) == ("FAILED", code)
    assert report.reasons


def test_a_fallback_never_passes() -> None:
    """A run on a target that was not the requested one gives exit code 10, with and without the gate."""
    report = sample.fallback()
    assert (report.decision, report.exit_code) == ("FAILED", 10)
    assert exit_code_of(report, full=False) == 10
    assert "does not answer" in report.reasons[0]


def test_a_fallback_hides_no_failure() -> None:
    """A parity check that failed on the CPU during a fallback gives exit code 1."""
    report = seal(sample.with_row(sample.fallback(), "parity.outputs", verdict=Verdict.FAILED, reason="0.3 off"))
    assert report.exit_code == 1
    assert exit_code_of(report, full=False) == 1


def test_a_fallback_excuses_only_rows_that_it_caused() -> None:
    """A required row that was deselected in a fallback run gives exit code 1."""
    report = seal(sample.with_row(sample.fallback(), "parity.outputs", **NOT_RUN, cause=Cause.DESELECTED, reason="-k"))
    assert report.exit_code == 1


def test_a_fallback_under_pytest_5_is_1() -> None:
    """A run that collected nothing fails with exit code 1, even after a fallback."""
    report = sample.fallback()
    assert seal(report.model_copy(update={"run": sample.run(pytest_exit_status=5)})).exit_code == 1


def test_one_row_on_another_target_fails() -> None:
    """A row that ran on another target fails the gate, even if the report's ``target`` claims otherwise."""
    report = sample.passed()
    row = report.checks[0].model_copy(update={"target": TargetUse(requested="cpu", used="laptop")})
    changed = report.model_copy(update={"checks": (row, *report.checks[1:])})
    assert judge(changed, changed.policy).exit_code == 10
    with pytest.raises(HilError, match="laptop"):
        seal(changed)


def test_an_incomplete_report_fails() -> None:
    """An incomplete report, as a killed run leaves it, is judged as failed."""
    report = sealed(sample.draft(unfinished([], TargetUse(requested="cpu", used="cpu"))))
    decision = judge(report, report.policy)
    assert (decision.status, decision.exit_code) == ("FAILED", 1)
    assert "did not finish" in decision.reasons[0]


def partial(*left_out: str, **changes: Any) -> Report:
    """Return the report of a selection that left out these checks; ``changes`` apply to each remaining row."""
    kept = [row if row.id in left_out else row.model_copy(update=changes) for row in sample.checks()]
    lost = {**NOT_RUN, "cause": Cause.DESELECTED, "reason": "left out", "measurement": None}
    rows = tuple(row.model_copy(update=lost) if row.id in left_out else row for row in kept)
    return sealed(sample.draft(rows, status="partial"))


def test_no_judge_takes_a_selection_for_a_run() -> None:
    """A report of a selection fails by its status alone, even if nothing was left out of it."""
    report = partial()
    for full in (True, False):
        decision = judge(report, ALLOWED, full=full)
        assert (decision.status, decision.exit_code) == ("FAILED", 1)
        assert "only a selection of the tests" in decision.reasons[0]
    assert judge_selection(report, 0).exit_code == 0
    with pytest.raises(HilError, match="partial but has a decision"):
        sealed(report.model_copy(update={"decision": "PASSED", "exit_code": 0}))


def test_a_selection_is_judged_by_what_it_did_not_leave_out() -> None:
    """Rows that were left out do not count; a bad row among the others fails, and so does an empty selection."""
    names = {row.id for row in sample.checks()}
    assert judge_selection(partial("parity.outputs", "latency.p99"), 0).exit_code == 0
    for verdict in (Verdict.FAILED, Verdict.INCONCLUSIVE):
        assert judge_selection(partial("parity.outputs", verdict=verdict, reason="no"), 3).exit_code == 1
    lost = {**NOT_RUN, "cause": Cause.CRASHED, "reason": "it died"}
    assert judge_selection(partial("parity.outputs", **lost), 3).exit_code == 1
    assert judge_selection(partial(*names), 0).exit_code == 1
    assert judge_selection(partial(*names), 1).exit_code == 0
    for error, code in (("user_error", 4), ("lab_error", 11)):
        run = sample.run(**{error: "no"})
        assert judge_selection(partial().model_copy(update={"run": run}), 1).exit_code == code
    failed = sample.run(other_tests_failed=1, pytest_exit_status=1)
    assert judge_selection(partial().model_copy(update={"run": failed}), 1).exit_code == 1


def test_totals_are_counted_again() -> None:
    """``judge`` counts the rows and does not rely on the recorded totals."""
    report = sample.passed()
    wrong = report.model_copy(update={"totals": report.totals.model_copy(update={"planned": 91})})
    assert judge(wrong, wrong.policy).exit_code == 1


def test_a_row_required_by_a_users_test_stays_required() -> None:
    """A row of a user's test that requested ``hil_check`` stays required under any policy."""
    own = sample.checks()[0].model_copy(
        update={**NOT_RUN, "id": "grasp.error", "required": True, "cause": Cause.NO_RESULT, "reason": "none"}
    )
    report = seal(sample.draft((*sample.checks(), own)))
    assert report.exit_code == 1
    assert judge(report, GateSpec(require=("parity.*",), evidence="host")).exit_code == 1


def test_another_policy_may_judge_otherwise() -> None:
    """``judge`` uses the policy of its argument, not the recorded one."""
    report = sample.passed()
    decision = judge(report, sample.POLICY.model_copy(update={"evidence": "device"}))
    assert (decision.status, decision.exit_code) == ("FAILED", 1)


def test_the_file_gives_the_same_decision(tmp_path: Path) -> None:
    """Judging the file again gives the recorded decision."""
    for number, report in enumerate((sample.passed(), sample.failed(), sample.fallback())):
        finish(tmp_path / str(number), report)
        read = open_report(tmp_path / str(number) / "report.json")
        assert read == report
        assert judge(read, read.policy).exit_code == report.exit_code


@pytest.mark.parametrize(("field", "value"), [("decision", "PASSED"), ("exit_code", 0)])
def test_an_edited_decision_is_refused(tmp_path: Path, field: str, value: object) -> None:
    """A decision that differs from what the rows give is refused, even if the digest was recomputed."""
    edited = sealed(sample.failed().model_copy(update={field: value}))
    finish(tmp_path, edited)
    with pytest.raises(ReportRefused, match="edited") as caught:
        open_report(tmp_path)
    assert caught.value.exit_code == 1


def test_an_incomplete_report_is_read_and_verified(tmp_path: Path) -> None:
    """``open_report`` reads an incomplete report, which has no decision to verify."""
    begin(tmp_path, sample.draft())
    verify(open_report(tmp_path))


VERDICTS = st.sampled_from(list(Verdict))


@settings(max_examples=60)
@given(st.lists(VERDICTS, min_size=3, max_size=3), st.sampled_from([0, 1, 2, 3, 5, None]), st.booleans(), st.booleans())
def test_exit_code_zero_requires_every_row(
    verdicts: list[Verdict], status: int | None, allowed: bool, fell_back: bool
) -> None:
    """Exit code 0 requires that every required row passed (or warned, if allowed) on the requested target."""
    use = TargetUse(requested="board" if fell_back else "cpu", used="cpu")
    rows = tuple(
        row.model_copy(
            update={
                "verdict": verdict,
                "required": True,
                "cause": Cause.STOPPED if verdict is Verdict.NOT_RUN else None,
                "target": use,
                "evidence": Evidence.CPU_FALLBACK if fell_back else Evidence.HOST,
            }
        )
        for row, verdict in zip(sample.checks()[:3], verdicts, strict=True)
    )
    target = TargetReport(requested=use.requested, used=use.used, kind="local")
    policy = ALLOWED.model_copy(update={"warnings": allowed})
    draft = sample.draft(
        rows, target=target, policy=policy, run=sample.run(pytest_exit_status=status), totals=count(rows)
    )
    good = set(verdicts) <= ({Verdict.PASSED, Verdict.WARNED} if allowed else {Verdict.PASSED})
    for full in (False, True):
        decision = judge(draft.model_copy(update={"status": "complete"}), policy, full=full)
        assert (decision.exit_code == 0) == (good and not fell_back and status in (0, None))
        assert (decision.status == "FAILED") == (decision.exit_code != 0)


def test_a_policy_without_requirements_fails() -> None:
    """A policy that requires no checks fails."""
    report = sample.passed()
    optional = report.model_copy(
        update={"checks": tuple(check.model_copy(update={"required": False}) for check in report.checks)}
    )
    decision = judge(optional, GateSpec(require=(), evidence="host"))
    assert decision.status == "FAILED"
    assert "requires no checks" in decision.reasons[0]


def guessing(policy: GateSpec, **changes: Any) -> Report:
    """Return the sealed report of a good run whose ``hil.toml`` has an unconfirmed guess, judged by ``policy``."""
    draft = sample.draft(policy=policy, **changes)
    return seal(draft.model_copy(update={"config": draft.config.model_copy(update={"guessed": GUESSED})}))


GUESSED = {"a model without a row": ("inputs.images.shape", "task")}


@pytest.mark.parametrize("warnings", [False, True])
@pytest.mark.parametrize("evidence", ["host", "emulated", "device"])
def test_a_guess_never_passes_as_a_declaration(evidence: str, *, warnings: bool) -> None:
    """A run whose config has guesses is never ``PASSED``, under any policy, even if the guessed models have no rows."""
    policy = sample.POLICY.model_copy(update={"warnings": warnings, "evidence": evidence})
    report = guessing(policy)
    assert report.decision == ("WARNED" if warnings and evidence == "host" else "FAILED")
    assert "a model without a row: inputs.images.shape" in " ".join(report.reasons)
    # pytest without --hil-gate does not judge evidence, but a policy without warnings still allows none.
    assert exit_code_of(report, full=False) == (0 if warnings else 1)
    assert judge(report, policy, full=False).status != "PASSED"


def test_a_guess_cannot_be_removed_from_a_report(tmp_path: Path) -> None:
    """A report whose guesses were removed is refused, because its rows no longer give the recorded decision."""
    report = guessing(sample.POLICY.model_copy(update={"warnings": True}))
    edited = report.model_copy(update={"config": report.config.model_copy(update={"guessed": {}})})
    finish(tmp_path, sealed(edited))
    with pytest.raises(ReportRefused, match="edited"):
        open_report(tmp_path)


def test_a_weaker_claim_is_among_the_reasons() -> None:
    """The reasons name each check that passed by a claim weaker than its tolerance, and state the claim."""
    claim = "48 samples without a disagreement exclude a loss above 6.1 % at 95 % confidence"
    report = seal(sample.with_row(sample.draft(), "parity.task", details={"weaker_claim": claim}))
    assert report.decision == "PASSED"
    assert any(reason.startswith("parity.task digits") and claim in reason for reason in report.reasons)


def claimed(check: str, claim: str = no_disagreement(48, 0.95), **changes: Any) -> Report:
    """Return a draft in which 48 samples without a disagreement passed ``check``; its limit needs more samples."""
    row = next(row for row in sample.draft().checks if row.id == check)
    numbers = {"value": 0, "unit": "1", "low": 0, "high": 0.0605, "confidence": 0.95, "n": 48, **changes}
    measured = sample.measurement(check, 0.0, "1").model_dump() | numbers
    limit = {"value": 0.05, "unit": "1", "sense": "at_most", "source": "default"}
    details = {**row.details, "weaker_claim": claim}
    return sample.with_row(sample.draft(), check, measurement=measured, limit=limit, details=details)


@pytest.mark.parametrize("check", ["parity.task", "parity.outputs"])
def test_a_row_may_pass_by_a_weaker_claim_that_its_measurement_supports(check: str) -> None:
    """A row whose interval reaches beyond its limit may pass by a weaker claim if no sample disagreed."""
    assert seal(claimed(check)).decision == "PASSED"


@pytest.mark.parametrize(
    "changes",
    [
        {"value": 0.02},
        {"n": 47},
        {"n": 9, "claim": no_disagreement(9, 0.95)},
        {"claim": "accepted"},
        {"confidence": 0.9},
    ],
)
def test_a_weaker_claim_that_nothing_supports_is_refused(changes: dict[str, Any]) -> None:
    """A weaker claim is refused if a sample disagreed, under ten agreed, or its text, count or confidence differ."""
    with pytest.raises(HilError, match="does not follow from its own measurement"):
        seal(claimed("parity.outputs", **changes))


@pytest.mark.parametrize(
    ("verdict", "code"), [(Verdict.PASSED, 0), (Verdict.NOT_RUN, 0), (Verdict.FAILED, 1), (Verdict.INCONCLUSIVE, 1)]
)
def test_losing_a_board_is_no_way_to_get_rid_of_a_verdict(verdict: Verdict, code: int) -> None:
    """A row that failed on a lost board fails the run, even if it passed on a second board."""
    row = VoidRow(
        id="latency.p99", model="detector", precision="int8", verdict=verdict, reason="9 ms: not at most 5 ms"
    )
    attempt = VoidAttempt(model="detector", board="orin-1", reason="unplugged", repeated=True, rows=(row,))
    report = seal(sample.draft(attempts=(attempt,)))
    assert exit_code_of(report, full=False) == code
    assert any("lost afterwards" in reason for reason in report.reasons) == bool(code)


@pytest.mark.parametrize("now", ["2026-11-21T10:00:00+00:00", "2026-11-23T10:00:00+00:00"])
@pytest.mark.parametrize("finished", ["2026-11-22T10:00:42+00:00", "2026-11-22T10:00:42", None])
def test_a_clock_before_the_run_cannot_tell_that_a_limit_is_valid(now: str, finished: str | None) -> None:
    """With an expiry date, the time of the run must be known and not in the future; without one, it does not matter."""
    report = sample.draft(run=sample.run(finished=finished)).model_copy(update={"status": "complete"})
    limit = next(row.limit for row in report.checks if row.id == "latency.p99")
    assert limit is not None
    expires = limit.model_copy(update={"expires": "2026-12-31"}).model_dump()
    expiring = sample.with_row(report, "latency.p99", limit=expires)
    around = Circumstances(datetime.fromisoformat(now))
    plausible = finished is not None and finished.endswith("+00:00") and now > finished
    assert (judge(expiring, expiring.policy, around=around).exit_code == 0) is plausible
    assert judge(report, report.policy, around=around).exit_code == 0
