"""A limit or tolerance that is stricter now than in the run refuses the report; a looser one does not."""

from __future__ import annotations

import json
import shutil
from datetime import datetime, timezone
from typing import TYPE_CHECKING, Any

import pytest

from hil.catalogue import KINDS
from hil.checks.tolerances import ANSWERS, AT_LEAST, TASK_DEFAULTS, UNITS, in_force, tightened
from hil.cli import main
from hil.config.load import load
from hil.config.spec import ModelSpec, TargetSpec, ToleranceSpec, TolerancesSpec
from hil.deploy.report_check import judged_report
from hil.deploy.tightened_limits import judged_by, of_rows, of_state
from hil.report.canonical import report_digest
from hil.results import CheckResult, Measurement, Row, Sense, Verdict
from hil.series import digest_of
from hil.state import Contract
from tests.deploy.container import TARGET
from tests.deploy.test_rollback import DEPLOY
from tests.report import sample

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from pathlib import Path

    from hil.report.schema import Report

KINDS_BY_ID = {kind.id: kind for kind in KINDS}
LIMITED = [kind for kind in KINDS if kind.limit is not None]
METHOD = {"above": 0.01, "deadline": 0.1}
DTYPES = {"scores": "float32", "labels": "int64"}


def report_of(*checks: CheckResult) -> Report:
    """Return a report with these rows."""
    return sample.draft(()).model_copy(update={"checks": checks, "methods": {digest_of(METHOD): METHOD}})


def limited(kind: Any, **changes: Any) -> CheckResult:
    """Return a passed row of ``kind`` that was measured by ``METHOD``."""
    check = sample.check(kind, "digits", "int8", **changes)
    measured = check.measurement
    assert measured is not None
    return check.model_copy(update={"measurement": measured.model_copy(update={"method": digest_of(METHOD)})})


def row_of(check: CheckResult, **changes: Any) -> Row:
    """Return the row as it is planned now, with changes to its limit."""
    limit = None if check.limit is None else check.limit.model_copy(update=changes)
    names = ("id", "model", "precision", "scenario", "required")
    return Row(limit=limit, **{name: getattr(check, name) for name in names})


def reasons(check: CheckResult, now: Row, **model: Any) -> list[str]:
    """Return the reasons against a report with this row."""
    spec = ModelSpec.model_validate({"path": "x", "data": "y", **model})
    return list(of_rows(report_of(check), [now], {"digits": spec}))


@pytest.mark.parametrize("kind", LIMITED, ids=lambda kind: kind.id)
def test_every_limit(kind: Any) -> None:
    """A limit that is new, stricter, of another unit or sense, expires earlier, or has a narrower band is refused."""
    check = limited(kind)
    assert check.limit is not None
    value, at_most = check.limit.value, check.limit.sense is Sense.AT_MOST
    strict, loose = (value - 0.01, value + 0.01) if at_most else (value + 0.01, value - 0.01)
    assert not reasons(check, row_of(check))
    assert not reasons(check, row_of(check, value=loose))
    assert not reasons(check, row_of(check).model_copy(update={"limit": None}))
    (reason,) = reasons(check, row_of(check, value=strict))
    assert reason.startswith(f"{check.name}: the limit is ")
    assert reason.endswith(": run again")
    banded = check.model_copy(update={"limit": check.limit.model_copy(update={"fail_at": loose})})
    assert reasons(banded, row_of(banded, fail_at=None))
    assert not reasons(banded, row_of(banded))
    assert reasons(check, row_of(check, unit="other"))
    assert reasons(check, row_of(check, sense=Sense.AT_LEAST if at_most else Sense.AT_MOST))
    assert reasons(check, row_of(check, expires="2999-01-01"))
    dated = check.model_copy(update={"limit": check.limit.model_copy(update={"expires": "2999-01-02"})})
    assert reasons(dated, row_of(dated, expires="2999-01-01"))
    assert not reasons(dated, row_of(dated, expires="2999-01-03"))
    bare = check.model_copy(update={"limit": None})
    assert "judged without one" in reasons(bare, row_of(check))[0]
    absent = reasons(sample.check(KINDS[0], "digits", "int8"), row_of(check))
    assert [reason for reason in absent if "was not judged: run again" in reason]


def test_other_settings_of_a_judgement() -> None:
    """A stricter ``above`` or deadline refuses the report; a report that does not record it is refused too."""
    worse, missed = limited(KINDS_BY_ID["regression.fps"]), limited(KINDS_BY_ID["paced.missed"])
    assert not reasons(worse, row_of(worse), limits={"regression": {"above": 0.02}})
    assert "above is 0.5 % now" in reasons(worse, row_of(worse), limits={"regression": {"above": 0.005}})[0]
    assert not reasons(missed, row_of(missed), run={"rate": 10})
    assert "deadline is 50 ms now" in reasons(missed, row_of(missed), run={"rate": 20})[0]
    assert "deadline is 90 ms now" in reasons(missed, row_of(missed), run={"rate": 10, "deadline": "90 ms"})[0]
    unknown = sample.check(KINDS_BY_ID["paced.streak"], "digits", "int8")
    assert "does not record its deadline" in reasons(unknown, row_of(unknown), run={"rate": 20})[0]


def test_a_row_that_is_required_now() -> None:
    """A required row without a result refuses the report; a row that is neither required nor limited does not."""
    row = Row(id="parity.outputs", model="other", precision="fp32", required=True)
    check = sample.check(KINDS[0], "digits", "fp32")
    assert reasons(check, row) == ["parity.outputs other fp32 is required now and was not judged: run again"]
    assert not reasons(check, row.model_copy(update={"required": False}))
    absent = sample.check(LIMITED[0], "digits", "int8", verdict=Verdict.NOT_RUN, limit=None, required=False)
    assert not reasons(absent, row_of(sample.check(LIMITED[0], "digits", "int8")))


def changes(then: Mapping[str, Any], now: Mapping[str, Any]) -> list[str]:
    """Return the keys in which the INT8 tolerances ``now`` are stricter than ``then``."""
    before, after = (TolerancesSpec.model_validate(table) for table in (then, now))
    return [key for key, _, _ in tightened(in_force("int8", before, DTYPES), "int8", after)]


@pytest.mark.parametrize("key", [*UNITS, *TASK_DEFAULTS, "score_drop"])
def test_every_tolerance(key: str) -> None:
    """A stricter tolerance, or a new one that has no default, is a change, for all outputs and for one."""
    loose, strict = (0.2, 0.3) if key in AT_LEAST else (0.9, 0.8)
    assert changes({key: loose}, {key: loose}) == changes({key: strict}, {key: loose}) == []
    named = f"outputs.scores.{key}" if key in UNITS else key
    assert changes({key: loose}, {key: strict}) == [named]
    assert changes({}, {key: strict}) == ([] if key == "slice_error" or key in TASK_DEFAULTS else [named])
    if key in UNITS:
        own = {"outputs": {"scores": {key: strict}, "labels": {key: strict}}}
        wide = {"outputs": {"scores": {key: loose}, "labels": {key: loose}}}
        assert changes(wide, own) == [f"outputs.scores.{key}", f"outputs.labels.{key}"]
        assert changes(own, wide) == []


def test_tolerances_of_outputs() -> None:
    """Without a tolerance, integer outputs must be equal; a tolerance of an unknown output is a change."""
    assert changes({"outputs": {"labels": {"max_abs": 2}}}, {}) == ["outputs.labels.max_abs"]
    assert changes({"outputs": {"scores": {"rmse": 0.1}}}, {}) == []
    assert "outputs.boxes.slice_error" in changes({}, {"outputs": {"boxes": {}}})
    assert ToleranceSpec.model_fields.keys() == {*UNITS, *ANSWERS}
    others = {"outputs", "no_disagreement_in", "reason", "by", "date", "expires"}
    losses = TolerancesSpec.model_fields.keys() - UNITS.keys() - ANSWERS.keys() - others
    assert losses == {*TASK_DEFAULTS, "score_drop"}


@pytest.mark.parametrize("check", ["parity.outputs", "sequence.free_running"])
def test_loosened_tolerances_do_not_judge_the_golden_samples(check: str) -> None:
    """The robot judges an engine by the report's tolerances, or by the config's if the report has none for it."""
    loose = TolerancesSpec.model_validate({"cosine": 0.1, "outputs": {"labels": {"max_abs": 9}}})
    for table in ({}, {"cosine": 0.9999, "top1_agreement": 0.99, "outputs": {"labels": {"max_abs": 2}}}):
        recorded = in_force("int8", TolerancesSpec.model_validate(table), DTYPES)
        row = sample.check(KINDS_BY_ID[check], "digits", "int8", details={"tolerances": recorded})
        held = judged_by(report_of(row), "digits", "int8", loose)
        assert in_force("int8", held, DTYPES)["outputs"] == recorded["outputs"]
        assert judged_by(report_of(row), "digits", "fp32", loose) is loose


def test_a_state_that_the_robot_declares() -> None:
    """A state that the robot declares must be that of the judged target."""
    report = sample.draft(())
    fast = report.model_copy(
        update={"target": report.target.model_copy(update={"contract": Contract(power_mode="MAXN").plain()})}
    )
    assert not list(of_state(fast, TargetSpec()))
    assert not list(of_state(fast, TargetSpec(power_mode="MAXN")))
    assert "power_mode = '15W'" in next(of_state(fast, TargetSpec(power_mode="15W")))
    bare = report.model_copy(update={"target": report.target.model_copy(update={"contract": None})})
    assert len(list(of_state(bare, TargetSpec(clocks="locked", start_below=50.0)))) == 2


@pytest.fixture
def project(local: Path, tmp_path: Path) -> Path:
    """A judged project whose robot is not contacted."""
    root = tmp_path / "project"
    shutil.copytree(local, root, ignore=shutil.ignore_patterns("cache"))
    text = (root / "hil.toml").read_text(encoding="utf-8").split("[targets.")[0]
    text += TARGET.format(store=root / "store") + DEPLOY.format(root=root)
    (root / "hil.toml").write_text(text, encoding="utf-8")
    (root / "robot.yaml").touch()
    return root


ROVER = "[models.toy.on.rover."
WHY = 'reason = "r"\nexpires = "2999-01-01"\n'


def test_a_tightened_limit_blocks_the_deployment(project: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """``hil deploy`` refuses a report if the robot's tables are stricter than the run, and accepts looser ones."""
    place = project / "hil.toml"
    text = place.read_text(encoding="utf-8")

    def refusal_of(lines: str) -> str:
        place.write_text(text + lines, encoding="utf-8")
        code = main(["deploy", str(project / "report"), "--to", "rover", "--config", str(place)])
        assert code == 1
        return capsys.readouterr().err

    for lines, message in (
        (
            f'{ROVER}limits]\nlatency = {{ p99 = "4 s" }}\n',
            "latency.p99 toy fp32 saturated: the limit is at most 4 s",
        ),
        (f'{ROVER}limits]\nlatency = {{ p50 = "4 s" }}\n', "latency.p50 toy fp32 saturated has the limit at most 4 s"),
        (
            f"{ROVER}limits]\n{WHY}",
            "latency.p99 toy fp32 saturated: the limit expires on 2999-01-01 now",
        ),
        (
            f"{ROVER}tolerances.fp32]\ncosine = 0.999999\n",
            "parity.outputs toy fp32: tolerance outputs.scores.cosine is",
        ),
        (f'{ROVER}tolerances.fp32]\ntop1_drop = "0.5 %"\n', "parity.task toy fp32: tolerance top1_drop is 0.005 now"),
        (f"{ROVER}tolerances.fp32]\n{WHY}", "property.parity toy fp32: the tolerance expires on 2999-01-01 now"),
        ('[models.toy.on.rover]\nprecisions = ["fp32", "fp16"]\n', "parity.outputs toy fp16 is required now"),
    ):
        refusal = refusal_of(lines)
        assert message in refusal
        assert ": run again" in refusal
    place.write_text(text.replace('p99 = "5 s"', 'p99 = "9 s"') + f"{ROVER}tolerances.fp32]\nslice_error = 0.9\n")
    judged_report(load(place), project / "report", "rover", datetime.now(timezone.utc))
    rewrite(project, lambda details: details.pop("tolerances", None))
    assert "parity.outputs toy fp32 does not record its tolerances: run again" in refusal_of("")


def rewrite(root: Path, change: Callable[[dict[str, Any]], object]) -> None:
    """Change the details of each row to those of an earlier version's report."""
    place = root / "report/report.json"
    document = json.loads(place.read_text(encoding="utf-8"))
    for check in document["checks"]:
        change(check["details"])
    document["digest"] = report_digest(document)
    place.write_text(json.dumps(document), encoding="utf-8")


def test_limits_of_answers() -> None:
    """A stricter limit of answers than the report's is a change; a looser or an omitted one is not."""

    def stricter(then: Mapping[str, Any], now: Mapping[str, Any]) -> list[str]:
        before, after = (TolerancesSpec.model_validate(table) for table in (then, now))
        return [key for key, _, _ in tightened(in_force("int8", before, DTYPES, ["scores"]), "int8", after)]

    assert stricter({}, {}) == stricter({}, {"answers": 0.06}) == []
    assert stricter({}, {"answers": 0.04}) == ["outputs.scores.answers"]
    assert stricter({"answers": 0.04}, {}) == []
    assert stricter({}, {"outputs": {"scores": {"score_drift": 0.01}}}) == ["outputs.scores.score_drift"]


def test_a_weaker_claim_that_is_no_longer_accepted() -> None:
    """A row that passed by few samples refuses the report if the config no longer accepts so few."""
    claim = {"weaker_claim": "no disagreement", "tolerances": in_force("int8", None, DTYPES)}
    loss = Measurement(value=0, unit="1", high=0.061, confidence=0.95, n=48)
    check = sample.check(KINDS_BY_ID["parity.task"], "digits", "int8", details=claim, measurement=loss)
    for few, refused in ((None, True), (49, True), (48, False), (20, False)):
        table = {} if few is None else {"no_disagreement_in": few}
        found = reasons(check, row_of(check), tolerances={"int8": table})
        assert any("no longer accepts" in reason for reason in found) == refused
