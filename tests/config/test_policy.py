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


def saw(decision: Decision, rule: str) -> tuple[bool, str]:
    """Return whether one rule passed, and its text."""
    return next((each.ok, each.saw) for each in decision.rules if each.rule == rule)


def test_what_a_policy_does_not_ask_is_no_rule() -> None:
    """A policy as before has the rules as before, and an older report's policy reads as it did."""
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
    assert saw(decision, "age")[0] is ok
    assert decision.exit_code == (0 if ok else 1)


def test_a_report_of_the_future_fails() -> None:
    """One of the two clocks is wrong, so nobody can tell its age; a few minutes are clocks that differ."""
    early = Circumstances(FINISHED - timedelta(minutes=30))
    decision = judge(sample.passed(), policy(max_age="7 days"), around=early)
    assert decision.status == "FAILED"
    assert "future" in saw(decision, "age")[1]
    nearly = Circumstances(FINISHED - timedelta(minutes=2))
    assert judge(sample.passed(), policy(max_age="7 days"), around=nearly).status == "PASSED"


@pytest.mark.parametrize("finished", [None, "yesterday", "2026-11-22T10:00:42", "9999-99-99T00:00:00+00:00"])
def test_a_report_of_no_known_age_fails(finished: str | None) -> None:
    """Under ``max_age``, an unreadable time counts as too old."""
    report = seal(sample.draft(run=sample.run(finished=finished)))
    assert judge(report, policy(max_age="7 days"), around=NOW).status == "FAILED"


def test_the_reports_own_decision_does_not_age() -> None:
    """Age and signature belong to whoever looks; what the report recorded can be judged again for ever."""
    report = seal(sample.draft(policy=policy(max_age="1 h", signed_by=[_key()])))
    assert report.decision == "PASSED"
    assert parse(to_json(report).encode()).policy == report.policy
    assert judge(report, report.policy, around=Circumstances(FINISHED + timedelta(days=900))).status == "FAILED"


def _key() -> str:
    return cases.new_signer().public.pem


def test_an_unsigned_report_fails_where_a_signature_is_wanted(tmp_path: Path) -> None:
    """No bundle, another key's, and one of another report: each is the rule's to tell."""
    case = cases.signed(tmp_path)
    good = policy(signed_by=[case.signer.public.pem])
    report = parse(case.report.read_bytes())
    decision = judge(report, good, around=circumstances(case.report, good))
    assert (decision.status, saw(decision, "signature")[0]) == ("PASSED", True)
    assert case.signer.public.id[:12] in saw(decision, "signature")[1]
    other = policy(signed_by=[_key()])
    decision = judge(report, other, around=circumstances(tmp_path, other))
    assert (decision.exit_code, saw(decision, "signature")[0]) == (1, False)
    case.bundle.unlink()
    decision = judge(report, good, around=circumstances(case.report, good))
    assert "there is no bundle" in saw(decision, "signature")[1]
    assert judge(report, good, around=NOW).status == "FAILED"


def test_a_row_that_the_report_lacks_fails() -> None:
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
def test_a_comparison_that_was_blind_fails(visible: object, ok: bool) -> None:
    """One that could not have seen the change that the policy asks for says nothing, passed or not."""
    asked = policy(require=["regression.latency_p50"], detects="3 %")
    decision = judge(regression(visible), asked, around=NOW)
    assert saw(decision, "power")[0] is ok
    assert decision.exit_code == (0 if ok else 1)


def test_a_limit_that_was_blind_fails() -> None:
    """An interval that reaches further than the policy asks, as a share of the limit, hides a change of that size."""
    decision = judge(sample.passed(), policy(require=["latency.p99"], detects="2 %"), around=NOW)
    assert saw(decision, "power")[0] is True
    decision = judge(sample.passed(), policy(require=["latency.p99"], detects="1 %"), around=NOW)
    assert decision.status == "FAILED"
    assert "latency.p99 digits fp32 saturated could not have detected less than 1.52 %" in saw(decision, "power")[1]


def test_a_policy_on_power_wants_something_that_can_see() -> None:
    """Exact rows alone see no change in time: asking them for power is asking nothing."""
    decision = judge(sample.passed(), policy(require=["contract.*"], detects="50 %"), around=NOW)
    assert decision.status == "FAILED"
    assert "no required check can detect a change" in saw(decision, "power")[1]


def test_an_open_interval_sees_nothing() -> None:
    """A missing bound counts as infinite."""
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
    """A number says something of the robot only if the board was held to what the policy names."""
    target = sample.draft().target.model_copy(update={"contract": CONTRACT})
    decision = judge(seal(sample.draft(target=target)), policy(state=state), around=NOW)
    assert saw(decision, "state")[0] is ok
    assert decision.exit_code == (0 if ok else 1)


def test_a_report_without_a_contract_fails_where_one_is_wanted() -> None:
    """An older report, or a run that never reached its target, declares nothing."""
    assert judge(sample.passed(), policy(state=["power_mode"]), around=NOW).status == "FAILED"


def test_another_policy_judges_the_same_measurements() -> None:
    """Stricter evidence and no warnings fail what the run's own policy let through, and the other way round."""
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
def test_what_a_policy_cannot_mean_is_refused(changes: dict[str, Any]) -> None:
    """A contradictory or meaningless policy is a user error."""
    with pytest.raises(ValidationError):
        policy(**changes)


def test_a_key_is_taken_as_pem_or_as_one_line() -> None:
    """A key as a PEM and as one line is stored as the same single line."""
    pem = _key()
    line = "".join(pem.splitlines()[1:-1])
    assert policy(signed_by=[pem]).signed_by == policy(signed_by=[line]).signed_by == (line,)


def lacking(*keys: tuple[str, str, str]) -> Report:
    """Return a passed run without limits for these rows, which were only measured."""
    rows = tuple(row for row in sample.checks() if (row.id, row.model, row.precision) not in keys)
    gone = [row for row in sample.checks() if (row.id, row.model, row.precision) in keys]
    told = tuple(
        Measured(id=row.id, model=row.model, precision=row.precision, measurement=row.measurement)
        for row in gone
        if row.measurement is not None
    )
    return seal(sample.draft(rows, measurements=told, policy=policy(require=["contract.*"])))


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
def test_a_policy_requires_what_a_plan_by_it_would(pattern: str, missing: list[str]) -> None:
    """A pattern requires an id of each model and a comparison of each family; a wildcard requires only planned rows."""
    lacks = [("latency.p90", "arm", "fp32"), ("latency.p90", "arm", "int8"), ("int8.ranges", "arm", "int8")]
    report = lacking(*lacks, ("regression.fps", "arm", "fp32"))
    assert report.decision == "PASSED"
    ok, said = saw(judge(report, policy(require=["contract.*", pattern]), around=NOW), "required checks exist")
    assert ok is (not missing)
    assert all(name in said for name in missing)
    assert f"{len(missing)} required but not judged" in said or not missing


def test_a_policy_that_requires_nothing_asks_nothing_of_own_checks_either() -> None:
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
def test_what_is_not_known_is_not_clean(facts: dict[str, Any], clean: bool) -> None:
    """Every judge asks it: by the key, by the default for evidence of a device, and for a commit that is asked for."""
    report = seal(sample.draft(run=sample.run(**facts)))
    assert report.policy.clean is False
    assert (judge(report, policy(clean=True)).exit_code == 0) is clean
    assert (judge(report, policy(clean=True), around=NOW).exit_code == 0) is clean
    assert judge(report, policy(clean=False), around=NOW).exit_code == 0
    board = sample.on_board()
    board = board.model_copy(update={"run": sample.run(**facts)})
    assert (seal(board).exit_code == 0) is clean
    assert seal(board).policy.clean is True
    asked = replace(NOW, commit="c" * 40)
    assert (judge(report, policy(), around=asked).exit_code == 0) is clean


@pytest.mark.parametrize(("day", "good"), [("2026-11-22", True), ("2026-11-21", False), ("soon", False), (7, False)])
def test_a_tolerance_holds_until_its_day_is_over(day: object, good: bool) -> None:
    """The day is that of whoever judges, in UTC; what failed anyway is not told twice."""
    report = sample.with_row(sample.draft(), "parity.outputs", details={"tolerance_given": {"expires": day}})
    assert judge(seal(report), policy()).exit_code == 0
    assert (judge(seal(report), policy(), around=NOW).exit_code == 0) is good
    bad = sample.with_row(report, "parity.outputs", verdict=Verdict.FAILED, reason="0.3 off")
    assert saw(judge(seal(bad), policy(), around=NOW), "expiry")[0] is True


@pytest.mark.parametrize("key", ["commit", "run", "target"])
def test_another_report_than_the_one_asked_for_fails(key: str) -> None:
    """Of another commit, run or target: exit code 1, whatever else it says."""
    report = sample.passed()
    right: dict[str, Any] = {"commit": report.run.commit, "run": report.run.id, "target": report.target.requested}
    assert judge(report, policy(), around=replace(NOW, **right)).exit_code == 0
    wrong: dict[str, Any] = {key: "0" * 40}
    decision = judge(report, policy(), around=replace(NOW, **wrong))
    assert decision.exit_code == 1
    assert "requested is 000000000000" in " ".join(decision.reasons)
