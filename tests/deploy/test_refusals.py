"""Reports that are refused before the robot is contacted; each differs in one thing from a report that is accepted."""

from __future__ import annotations

import json
from datetime import datetime, timedelta, timezone
from functools import partial
from typing import TYPE_CHECKING, Any

import pytest

from hil.config.load import load
from hil.deploy import refusals, release
from hil.deploy.report_check import judged_report
from hil.errors import DeployRefused, HilError, UserError
from hil.gate import gate
from hil.report.canonical import as_document, report_digest
from hil.report.read_report import parse
from hil.results import Evidence

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from hil.report.schema import Report

DEPLOY = """
[targets.rover]
kind = "ssh"
host = "rover.example"
evidence = "emulated"
[targets.rover.deploy]
directory = "/opt/robot/perception"
service = "perception"
health = ["/bin/true"]
"""


@pytest.fixture
def project(judged: Path, copied: Callable[[Path], Path]) -> Path:
    """The judged project with a robot that cannot be reached."""
    root = copied(judged)
    text = (root / "hil.toml").read_text(encoding="utf-8").split("[targets.")[0].replace('"host"', '"emulated"')
    (root / "hil.toml").write_text(text + DEPLOY, encoding="utf-8")
    return root


def refusal(root: Path, **late: float) -> str:
    """Return why the project's report is refused at the time ``late`` (arguments of ``timedelta``) after now."""
    now = datetime.now(timezone.utc) + timedelta(**late)
    with pytest.raises(HilError) as caught:
        judged_report(load(root / "hil.toml"), root / "report", "rover", now)
    assert int(caught.value.exit_code) in {1, 4}
    return str(caught.value)


def read(root: Path) -> Report:
    """Return the parsed report of the project."""
    return parse((root / "report/report.json").read_bytes())


def rewrite(root: Path, change: Callable[[dict[str, Any]], object]) -> None:
    """Change the report without a new digest, as an editor of the file would."""
    place = root / "report/report.json"
    document = json.loads(place.read_text(encoding="utf-8"))
    change(document)
    place.write_text(json.dumps(document), encoding="utf-8")


def redated(document: dict[str, Any], finished: str | None) -> None:
    """Change the end of the run, with a new digest."""
    document["run"]["finished"] = finished
    document["digest"] = report_digest(document)


def test_a_report_that_may_be_deployed(project: Path) -> None:
    """The unchanged report is accepted, so each refusal below is caused by its change."""
    judged = judged_report(load(project / "hil.toml"), project / "report", "rover", datetime.now(timezone.utc))
    assert judged.evidence is Evidence.EMULATED
    assert [(engine.model, engine.precision) for engine in judged.engines] == [("toy", "fp32")]


def test_no_report(project: Path) -> None:
    """Without a report the message has the command that makes one."""
    (project / "report/report.json").unlink()
    assert "there is no report: run pytest --target=NAME first" in refusal(project)


def test_too_old_or_from_the_future(project: Path) -> None:
    """A report older than ``max_age`` or from the future, by this machine's clock, is refused."""
    assert "the run finished 8 days ago" in refusal(project, days=8)
    assert "the run finished in the future" in refusal(project, days=-1)
    for finished in (None, "", "2026-11-22T10:00:42"):  # without a time zone it may be any hour of that day
        rewrite(project, partial(redated, finished=finished))
        assert "does not state when the run finished" in refusal(project)


def test_evidence_below_the_policy(project: Path) -> None:
    """The policy of the deploying project decides on the evidence, not the report's own."""
    text = (project / "hil.toml").read_text(encoding="utf-8")
    (project / "hil.toml").write_text(
        text.replace('evidence = "emulated"\n[t', "\n[t").replace('= "emulated"', '= "device"', 1)
    )
    message = refusal(project)
    assert "evidence emulated" in message
    assert "device" in message


@pytest.mark.parametrize("evidence", ["host", "emulated"])
def test_guesses(project: Path, evidence: str) -> None:
    """A report with an unconfirmed guess is refused by any policy, also by one that allows its warning."""
    report = read(project)
    policy = report.policy.model_copy(update={"warnings": True, "evidence": evidence})
    config = report.config.model_copy(update={"guessed": {"toy": ("inputs.x.shape",)}})
    guessing = gate.seal(report.model_copy(update={"config": config, "policy": policy}))
    rewrite(project, lambda document: document.update(as_document(guessing)))
    text = (project / "hil.toml").read_text(encoding="utf-8")
    (project / "hil.toml").write_text(text.replace('"emulated"', f'"{evidence}"', 1), encoding="utf-8")
    assert "guessed and not confirmed: toy: inputs.x.shape" in refusal(project)


def test_another_engine(project: Path) -> None:
    """An engine with a changed byte and a missing engine are refused."""
    (engine,) = (project / "report/engines").glob("*.onnx")
    content = engine.read_bytes()
    engine.write_bytes(content[:-1] + bytes([content[-1] ^ 1]))
    assert "was judged" in refusal(project)
    engine.unlink()
    assert "is missing" in refusal(project)


def test_an_engine_outside_of_the_report(project: Path) -> None:
    """A link to an engine outside of the report's folder is refused."""
    (engine,) = (project / "report/engines").glob("*.onnx")
    outside = project / "elsewhere.onnx"
    engine.rename(outside)
    engine.symlink_to(outside)
    assert "is outside of" in refusal(project)


@pytest.mark.parametrize(
    "change",
    [
        lambda document: document.update(decision="WARNED"),
        lambda document: document["checks"][0].update(verdict="failed"),
        lambda document: document["engines"][0].update(digest="0" * 64),
        lambda document: document["run"].update(finished="2999-01-01T00:00:00+00:00"),
        lambda document: document["target"]["facts"].clear(),
        lambda document: document.update(status="incomplete"),
    ],
)
def test_an_edited_report(project: Path, change: Callable[[dict[str, Any]], object]) -> None:
    """An edited report does not match its digest and is refused."""
    before = read(project)
    rewrite(project, change)
    assert "damaged or edited" in refusal(project)
    assert before.exit_code == 0


def test_a_gate_that_did_not_pass(project: Path) -> None:
    """A report that the config's policy fails, or whose own recorded decision is a failure, is refused."""
    report = read(project)
    spec = load(project / "hil.toml").spec.gate.model_copy(update={"require": ("energy.inference",)})
    reasons = list(refusals.of_report(report, {"the gate of hil.toml": gate.judge(report, spec)}))
    assert any(reason.startswith("the gate of hil.toml: ") for reason in reasons)
    failed = report.model_copy(update={"exit_code": 1, "decision": "FAILED"})
    reasons = list(refusals.of_report(failed, {"own": gate.judge(report, report.policy)}))
    assert "its own gate decided FAILED (exit code 1)" in reasons


def test_an_engine_that_no_check_used(project: Path) -> None:
    """An engine that no check used is refused, and its evidence is the lowest kind."""
    report = read(project)
    other = report.engines[0].model_copy(update={"digest": "1" * 64})
    assert "no check of the report used" in next(refusals.of_engines(report, [other]))
    assert refusals.evidence_of(report, [other]) is Evidence.CPU_FALLBACK


def test_two_engines_of_one_model_and_precision(project: Path) -> None:
    """Two engines that would have the same path in a release are refused."""
    report = read(project)
    other = report.engines[0].model_copy(update={"file": "engines/other.onnx"})
    assert "the report has 2 engines of toy fp32, and a release can have only one" in list(
        refusals.of_engines(report, [report.engines[0], other])
    )


def test_a_pattern_that_matches_no_engine(project: Path) -> None:
    """A pattern in ``engines`` that matches no engine is a user error, not an empty release."""
    with pytest.raises(UserError, match="has no engine that matches 'toy int8'"):
        release.chosen(read(project), ("toy int8",), "rover")


def test_an_unsigned_report(project: Path) -> None:
    """If the robot has keys, an unsigned report is refused."""
    (project / "release.pub").write_text("no key", encoding="utf-8")
    with (project / "hil.toml").open("a", encoding="utf-8") as file:
        file.write('keys = ["release.pub"]\n')
    assert "is not signed" in refusal(project)


def test_a_signature_by_another_key(project: Path) -> None:
    """Only a report that one of the robot's keys signed is accepted."""
    from cryptography.hazmat.primitives.asymmetric import ec

    from hil.attestation import KeySigner, attest

    ours, theirs = (KeySigner(ec.generate_private_key(ec.SECP256R1())) for _ in range(2))
    (project / "release.pub").write_text(ours.public.pem, encoding="ascii")
    with (project / "hil.toml").open("a", encoding="utf-8") as file:
        file.write('keys = ["release.pub"]\n')
    attest(project / "report", ours)
    judged = judged_report(load(project / "hil.toml"), project / "report", "rover", datetime.now(timezone.utc))
    assert judged.bundle is not None
    attest(project / "report", theirs)
    assert "not trusted" in refusal(project)


def test_a_target_without_a_deploy_table(project: Path) -> None:
    """Without a ``deploy`` table the message names the table to add."""
    text = (project / "hil.toml").read_text(encoding="utf-8")
    (project / "hil.toml").write_text(text.split("[targets.rover.deploy]")[0], encoding="utf-8")
    assert "add [targets.rover.deploy]" in refusal(project)


def test_a_refusal_lists_each_reason_once(project: Path) -> None:
    """A refusal lists all reasons, so that all can be fixed at once."""
    (engine,) = (project / "report/engines").glob("*.onnx")
    engine.write_bytes(b"x")
    with pytest.raises(DeployRefused) as caught:
        judged_report(
            load(project / "hil.toml"), project / "report", "rover", datetime.now(timezone.utc) + timedelta(days=9)
        )
    assert str(caught.value).count("  - ") == 2
