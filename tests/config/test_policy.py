from __future__ import annotations

import math
from dataclasses import replace
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any

import pytest
from pydantic import ValidationError

from hil.config.spec import GateSpec
from hil.gate.circumstances import circumstances
from hil.gate.demands import Circumstances, smallest_change
from hil.gate.gate import judge, seal
from hil.report.read_report import parse
from hil.report.schema import Measured
from hil.report.write_report import to_json
from hil.results import Verdict
from tests.attestation import case as cases
from tests.report import sample

if TYPE_CHECKING:
    from pathlib import Path

    from hil.gate.gate import Decision
    from hil.report.schema import Report

FINISHED = datetime.fromisoformat("2026-11-22T10:00:42+00:00")
NOW = Circumstances(FINISHED + timedelta(hours=1))


def policy(**changes: Any) -> GateSpec:
    """Return the sample's policy with these keys replaced."""
    return GateSpec.model_validate({**sample.POLICY.model_dump(), **changes}, strict=False)


def rule_outcome(decision: Decision, rule: str) -> tuple[bool, str]:
    """Return whether one rule passed, and its text."""
    return next((each.ok, each.saw) for each in decision.rules if each.rule == rule)


def test_optional_rules_apply_only_if_configured() -> None:
    """Without its key, a policy has no rule on age, signature, power or state."""
    decision = judge(sample.passed(), policy(), around=NOW)
    assert {"age", "signature", "power", "state"}.isdisjoint(rule.rule for rule in decision.rules)
    assert decision.status == "PASSED"


@pytest.mark.parametrize(
    ("age", "hours", "ok"),
    [("2 h", 1.0, True), ("2 h", 2.5, False), ("7 days", 7 * 24 + 0.1, False), ("1 weeks", 167.0, True)],
)
def test_an_old_report_fails(age: str, hours: float, ok: bool) -> None:
    """A report older than ``max_age`` does not pass."""
    around = Circumstances(FINISHED + timedelta(hours=hours))
    decision = judge(sample.passed(), policy(max_age=age), around=around)
    assert rule_outcome(decision, "age")[0] is ok
    assert decision.exit_code == (0 if ok else 1)


def test_a_report_of_the_future_fails() -> None:
    """A report from the future fails, because its age is unknown; a few minutes of clock difference are accepted."""
    early = Circumstances(FINISHED - timedelta(minutes=30))
    decision = judge(sample.passed(), policy(max_age="7 days"), around=early)
    assert decision.status == "FAILED"
    assert "future" in rule_outcome(decision, "age")[1]
    nearly = Circumstances(FINISHED - timedelta(minutes=2))
    assert judge(sample.passed(), policy(max_age="7 days"), around=nearly).status == "PASSED"


@pytest.mark.parametrize("finished", [None, "yesterday", "2026-11-22T10:00:42", "9999-99-99T00:00:00+00:00"])
def test_a_report_of_unknown_age_fails(finished: str | None) -> None:
    """Under ``max_age``, an unreadable time counts as too old."""
    report = seal(sample.draft(run=sample.run(finished=finished)))
    assert judge(report, policy(max_age="7 days"), around=NOW).status == "FAILED"


def test_the_recorded_decision_ignores_age_and_signature() -> None:
    """The report's recorded decision leaves out the rules on age and signature."""
    report = seal(sample.draft(policy=policy(max_age="1 h", signed_by=[_key()])))
    assert report.decision == "PASSED"
    assert parse(to_json(report).encode()).policy == report.policy
    assert judge(report, report.policy, around=Circumstances(FINISHED + timedelta(days=900))).status == "FAILED"


def _key() -> str:
    return cases.new_signer().public.pem


def test_an_unsigned_report_fails_if_a_signature_is_required(tmp_path: Path) -> None:
    """``signed_by`` fails a report without a bundle or with a signature by another key."""
    case = cases.signed(tmp_path)
    good = policy(signed_by=[case.signer.public.pem])
    report = parse(case.report.read_bytes())
    decision = judge(report, good, around=circumstances(case.report, good))
    assert (decision.status, rule_outcome(decision, "signature")[0]) == ("PASSED", True)
    assert case.signer.public.id[:12] in rule_outcome(decision, "signature")[1]
    other = policy(signed_by=[_key()])
    decision = judge(report, other, around=circumstances(tmp_path, other))
    assert (decision.exit_code, rule_outcome(decision, "signature")[0]) == (1, False)
    case.bundle.unlink()
    decision = judge(report, good, around=circumstances(case.report, good))
    assert "there is no bundle" in rule_outcome(decision, "signature")[1]
    assert judge(report, good, around=NOW).status == "FAILED"


def test_a_required_row_that_is_missing_fails() -> None:
    """A policy that requires an unplanned check does not pass."""
    for pattern in ("latency.p42", "parity.outputs segmenter", "latency.p99 digits fp16", "vision.*"):
        decision = judge(sample.passed(), policy(require=["contract.*", pattern]), around=NOW)
        assert decision.status == "FAILED"
        assert "matches no check" in " ".join(decision.reasons)


def regression(visible: object) -> Report:
    """Return a passed run whose comparisons with a baseline could detect a change of ``visible``."""
    rows = tuple(
        row.model_copy(
            update={
                "details": {"visible": visible},
                "measurement": row.measurement.model_copy(
                    update={"confidence": 0.95, "low": -0.01, "high": 0.02, "unit": "1"}
                ),
            }
        )
        if row.id == "regression.latency_p50" and row.measurement is not None
        else row
        for row in sample.checks()
    )
    return seal(sample.draft(rows))


@pytest.mark.parametrize(("visible", "ok"), [(0.02, True), (0.04, False), ("inf", False), (None, False), (True, False)])
def test_a_comparison_of_too_little_power_fails(visible: object, ok: bool) -> None:
    """``detects`` fails a comparison that could not have detected a change of that size, even one that passed."""
    demanding = policy(require=["regression.latency_p50"], detects="3 %")
    decision = judge(regression(visible), demanding, around=NOW)
    assert rule_outcome(decision, "power")[0] is ok
    assert decision.exit_code == (0 if ok else 1)


def test_an_interval_wider_than_the_required_power_fails() -> None:
    """``detects`` fails a row whose confidence interval, as a share of its limit, is wider than ``detects``."""
    decision = judge(sample.passed(), policy(require=["latency.p99"], detects="2 %"), around=NOW)
    assert rule_outcome(decision, "power")[0] is True
    decision = judge(sample.passed(), policy(require=["latency.p99"], detects="1 %"), around=NOW)
    assert decision.status == "FAILED"
    assert (
        "latency.p99 digits fp32 saturated could not have detected a change of less than 1.52 %"
        in rule_outcome(decision, "power")[1]
    )


def test_a_policy_on_power_needs_a_measured_row() -> None:
    """``detects`` fails if no required row can detect a change."""
    decision = judge(sample.passed(), policy(require=["contract.*"], detects="50 %"), around=NOW)
    assert decision.status == "FAILED"
    assert "no required check can detect a change" in rule_outcome(decision, "power")[1]


def test_an_open_interval_detects_nothing() -> None:
    """An interval without an upper or lower bound counts as infinitely wide for ``detects``."""
    row = next(check for check in sample.checks() if check.id == "latency.p99")
    assert row.measurement is not None
    open_ = row.measurement.model_copy(update={"high": None})
    assert smallest_change(row.model_copy(update={"measurement": open_})) == math.inf


CONTRACT = {
    "power_mode": "MAXN",
    "clocks": "as-deployed",
    "gpu_clients": [],
    "clients_declared": True,
    "free_memory": 0,
}


@pytest.mark.parametrize(
    ("state", "ok"),
    [
        (["power_mode"], True),
        (["power_mode", "gpu_clients"], True),
        (["clocks"], False),
        (["free_memory"], False),
        (["start_below"], False),
    ],
)
def test_an_undeclared_state_fails(state: list[str], ok: bool) -> None:
    """A key in ``state`` fails a report whose state contract does not declare it."""
    target = sample.draft().target.model_copy(update={"contract": CONTRACT})
    decision = judge(seal(sample.draft(target=target)), policy(state=state), around=NOW)
    assert rule_outcome(decision, "state")[0] is ok
    assert decision.exit_code == (0 if ok else 1)


def test_a_report_without_a_contract_fails_if_a_state_is_required() -> None:
    """A report without a state contract, such as an older one, fails a policy with ``state``."""
    assert judge(sample.passed(), policy(state=["power_mode"]), around=NOW).status == "FAILED"


def test_another_policy_judges_the_same_measurements() -> None:
    """A different policy can give a better or a worse decision on the same report."""
    report = seal(
        sample.with_row(
            sample.draft(), "fps.sustained", verdict=Verdict.WARNED, reason="27 /s", measurement=None, limit=None
        )
    )
    assert report.decision == "FAILED"
    assert judge(report, policy(warnings=True), around=NOW).status == "WARNED"
    assert judge(sample.passed(), policy(evidence="device"), around=NOW).status == "FAILED"


@pytest.mark.parametrize(
    "changes",
    [
        {"max_age": "7"},
        {"max_age": "0 days"},
        {"max_age": "7 d"},
        {"max_age": 7},
        {"detects": "0 %"},
        {"detects": "3 ms"},
        {"state": ["power"]},
        {"signed_by": ["release.pub"]},
        {"signed_by": ["MFkwEwYHKoZIzj0CAQYIKoZIzj0DAQcDQgAEAAAA"]},
        {"signed_by": [7]},
    ],
    ids=str,
)
def test_an_invalid_policy_is_refused(changes: dict[str, Any]) -> None:
    """A policy with a contradictory or meaningless value raises ``ValidationError``."""
    with pytest.raises(ValidationError):
        policy(**changes)


def test_a_key_may_be_pem_or_one_line() -> None:
    """A key as a PEM and as one line is stored as the same single line."""
    pem = _key()
    line = "".join(pem.splitlines()[1:-1])
    assert policy(signed_by=[pem]).signed_by == policy(signed_by=[line]).signed_by == (line,)


def lacking(*keys: tuple[str, str, str]) -> Report:
    """Return a passed run without limits for these rows, which were only measured."""
    rows = tuple(row for row in sample.checks() if (row.id, row.model, row.precision) not in keys)
    removed = [row for row in sample.checks() if (row.id, row.model, row.precision) in keys]
    measured = tuple(
        Measured(id=row.id, model=row.model, precision=row.precision, measurement=row.measurement)
        for row in removed
        if row.measurement is not None
    )
    return seal(sample.draft(rows, measurements=measured, policy=policy(require=["contract.*"])))


@pytest.mark.parametrize(
    ("pattern", "missing"),
    [
        ("latency.p90", ["latency.p90 arm fp32", "latency.p90 arm int8"]),
        ("latency.p90 a* int?", ["latency.p90 arm int8"]),
        ("latency.p90 digits", []),
        ("latency.p9?", []),
        ("latency.*", []),
        ("int8.ranges", ["int8.ranges arm int8"]),
        ("regression.fps", ["regression.fps arm fp32"]),
        ("regression.*", ["regression.fps arm fp32"]),
        ("*", []),
    ],
)
def test_a_policy_requires_the_rows_that_its_plan_would_have(pattern: str, missing: list[str]) -> None:
    """A literal id is required of each model; a wildcard requires only planned rows."""
    lacks = [("latency.p90", "arm", "fp32"), ("latency.p90", "arm", "int8"), ("int8.ranges", "arm", "int8")]
    report = lacking(*lacks, ("regression.fps", "arm", "fp32"))
    assert report.decision == "PASSED"
    ok, text = rule_outcome(judge(report, policy(require=["contract.*", pattern]), around=NOW), "required checks exist")
    assert ok is (not missing)
    assert all(name in text for name in missing)
    assert f"{len(missing)} required but not judged" in text or not missing


def test_a_required_own_check_does_not_satisfy_an_empty_policy() -> None:
    """A required row of a user's own test does not satisfy a policy without requirements."""
    own = sample.checks()[0].model_copy(update={"id": "grasp.error", "required": True})
    report = seal(sample.draft((*sample.checks(), own)))
    assert judge(report, policy(require=[]), around=NOW).exit_code == 1


@pytest.mark.parametrize(
    ("facts", "clean"),
    [
        ({"commit": "c" * 40, "dirty": False}, True),
        ({"commit": "c" * 40, "dirty": True}, False),
        ({"commit": "c" * 40, "dirty": None}, False),
        ({"commit": None, "dirty": None}, False),
        ({"commit": None, "dirty": False}, False),
    ],
)
def test_an_unknown_working_tree_is_not_clean(facts: dict[str, Any], clean: bool) -> None:
    """An unknown commit or working tree is not clean, so that ``clean``, ``device`` and a required commit fail it."""
    report = seal(sample.draft(run=sample.run(**facts)))
    assert report.policy.clean is False
    assert (judge(report, policy(clean=True)).exit_code == 0) is clean
    assert (judge(report, policy(clean=True), around=NOW).exit_code == 0) is clean
    assert judge(report, policy(clean=False), around=NOW).exit_code == 0
    board = sample.on_board()
    board = board.model_copy(update={"run": sample.run(**facts)})
    assert (seal(board).exit_code == 0) is clean
    assert seal(board).policy.clean is True
    with_commit = replace(NOW, commit="c" * 40)
    assert (judge(report, policy(), around=with_commit).exit_code == 0) is clean


@pytest.mark.parametrize(("day", "good"), [("2026-11-22", True), ("2026-11-21", False), ("soon", False), (7, False)])
def test_a_tolerance_holds_until_its_day_is_over(day: object, good: bool) -> None:
    """A tolerance expires after its day in UTC, at the time of judging; a failed row is not reported as expired too."""
    report = sample.with_row(sample.draft(), "parity.outputs", details={"tolerance_given": {"expires": day}})
    assert judge(seal(report), policy()).exit_code == 0
    assert (judge(seal(report), policy(), around=NOW).exit_code == 0) is good
    bad = sample.with_row(report, "parity.outputs", verdict=Verdict.FAILED, reason="0.3 off")
    assert rule_outcome(judge(seal(bad), policy(), around=NOW), "expiry")[0] is True


@pytest.mark.parametrize("key", ["commit", "run", "target"])
def test_a_report_other_than_the_requested_one_fails(key: str) -> None:
    """A report of another commit, run or target fails with exit code 1."""
    report = sample.passed()
    right: dict[str, Any] = {"commit": report.run.commit, "run": report.run.id, "target": report.target.requested}
    assert judge(report, policy(), around=replace(NOW, **right)).exit_code == 0
    wrong: dict[str, Any] = {key: "0" * 40}
    decision = judge(report, policy(), around=replace(NOW, **wrong))
    assert decision.exit_code == 1
    assert "000000000000" in " ".join(decision.reasons)
