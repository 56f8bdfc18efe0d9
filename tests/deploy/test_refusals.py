"""What is refused, each by a report that was changed in just that: nothing reaches the robot."""

from __future__ import annotations

import json
from datetime import datetime, timedelta, timezone
from typing import TYPE_CHECKING, Any

import pytest

from hil.config.load import load
from hil.deploy import refusals, release
from hil.deploy.report_check import judged_report
from hil.errors import DeployRefused, HilError, UserError
from hil.gate import gate
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
    """The judged project with a robot that nobody can reach."""
    root = copied(judged)
    text = (root / "hil.toml").read_text(encoding="utf-8").split("[targets.")[0].replace('"host"', '"emulated"')
    (root / "hil.toml").write_text(text + DEPLOY, encoding="utf-8")
    return root


def why(root: Path, **late: float) -> str:
    """Why the project's report is not deployed."""
    now = datetime.now(timezone.utc) + timedelta(**late)
    with pytest.raises(HilError) as caught:
        judged_report(load(root / "hil.toml"), root / "report", "rover", now)
    assert int(caught.value.exit_code) in {1, 4}
    return str(caught.value)


def read(root: Path) -> Report:
    """The report."""
    return parse((root / "report/report.json").read_bytes())


def rewrite(root: Path, change: Callable[[dict[str, Any]], object]) -> None:
    """Changes the report's text, as somebody would by hand."""
    place = root / "report/report.json"
    document = json.loads(place.read_text(encoding="utf-8"))
    change(document)
    place.write_text(json.dumps(document), encoding="utf-8")


def test_a_report_that_may_be_deployed(project: Path) -> None:
    """As it is, nothing speaks against it: all refusals below are by what they change."""
    found = judged_report(load(project / "hil.toml"), project / "report", "rover", datetime.now(timezone.utc))
    assert found.evidence is Evidence.EMULATED
    assert [(one.model, one.precision) for one in found.engines] == [("toy", "fp32")]


def test_no_report(project: Path) -> None:
    """The command that makes one."""
    (project / "report/report.json").unlink()
    assert "there is no report: run pytest --target=NAME first" in why(project)


def test_too_old_or_from_the_future(project: Path) -> None:
    """By the clock of the machine that deploys."""
    assert "it is 8.0 days old, but max_age allows" in why(project, days=8)
    assert "it was finished in the future" in why(project, days=-1)


def test_evidence_below_the_policy(project: Path) -> None:
    """The policy of whoever deploys decides, not the report's own."""
    text = (project / "hil.toml").read_text(encoding="utf-8")
    (project / "hil.toml").write_text(
        text.replace('evidence = "emulated"\n[t', "\n[t").replace('= "emulated"', '= "device"', 1)
    )
    said = why(project)
    assert "evidence emulated" in said
    assert "device" in said


def test_another_engine(project: Path) -> None:
    """One byte, a file that is gone, and a name that leads elsewhere."""
    (engine,) = (project / "report/engines").glob("*.onnx")
    content = engine.read_bytes()
    engine.write_bytes(content[:-1] + bytes([content[-1] ^ 1]))
    assert "was judged" in why(project)
    engine.unlink()
    assert "is missing" in why(project)


def test_an_engine_that_leads_out_of_the_report(project: Path) -> None:
    """A link to another place is not followed."""
    (engine,) = (project / "report/engines").glob("*.onnx")
    outside = project / "elsewhere.onnx"
    engine.rename(outside)
    engine.symlink_to(outside)
    assert "is outside of" in why(project)


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
    """Any edit breaks the digest, or the accounts."""
    before = read(project)
    rewrite(project, change)
    assert "refused" in why(project)
    assert before.exit_code == 0


def test_a_gate_that_did_not_pass(project: Path) -> None:
    """A stricter policy than the run's own is the one that counts."""
    report = read(project)
    spec = load(project / "hil.toml").spec.gate.model_copy(update={"require": ("energy.inference",)})
    now = datetime.now(timezone.utc)
    reasons = list(refusals.of_report(report, {"the gate of hil.toml": gate.judge(report, spec)}, now=now, max_age=1e9))
    assert any(reason.startswith("the gate of hil.toml: ") for reason in reasons)
    failed = report.model_copy(update={"exit_code": 1, "decision": "FAILED"})
    said = list(refusals.of_report(failed, {"own": gate.judge(report, report.policy)}, now=now, max_age=1e9))
    assert "its own gate decided FAILED (exit code 1)" in said


def test_an_engine_that_no_check_stands_for(project: Path) -> None:
    """It was built, and nobody looked at it."""
    report = read(project)
    other = report.engines[0].model_copy(update={"digest": "1" * 64})
    assert "no check of the report used" in next(refusals.of_engines(report, [other]))
    assert refusals.evidence_of(report, [other]) is Evidence.CPU_FALLBACK


def test_a_pattern_that_names_no_engine(project: Path) -> None:
    """A misspelt name in `engines` is refused and makes no empty release."""
    with pytest.raises(UserError, match="has no engine that matches 'toy int8'"):
        release.chosen(read(project), ("toy int8",), "rover")


def test_a_report_without_the_wanted_signature(project: Path) -> None:
    """Where the robot has keys, no report passes without one."""
    (project / "release.pub").write_text("no key", encoding="utf-8")
    with (project / "hil.toml").open("a", encoding="utf-8") as file:
        file.write('keys = ["release.pub"]\n')
    assert "is not signed" in why(project)


def test_signed_by_the_robots_key_or_another(project: Path) -> None:
    """The right key lets it through; another's signature, or one over another report, does not."""
    from cryptography.hazmat.primitives.asymmetric import ec

    from hil.attestation import KeySigner, attest

    ours, theirs = (KeySigner(ec.generate_private_key(ec.SECP256R1())) for _ in range(2))
    (project / "release.pub").write_text(ours.public.pem, encoding="ascii")
    with (project / "hil.toml").open("a", encoding="utf-8") as file:
        file.write('keys = ["release.pub"]\n')
    attest(project / "report", ours)
    found = judged_report(load(project / "hil.toml"), project / "report", "rover", datetime.now(timezone.utc))
    assert found.bundle is not None
    attest(project / "report", theirs)
    assert "not trusted" in why(project)


def test_a_robot_that_nothing_is_said_of(project: Path) -> None:
    """The table to write."""
    text = (project / "hil.toml").read_text(encoding="utf-8")
    (project / "hil.toml").write_text(text.split("[targets.rover.deploy]")[0], encoding="utf-8")
    assert "add [targets.rover.deploy]" in why(project)


def test_a_refusal_lists_every_reason_once(project: Path) -> None:
    """Whoever mends one thing is not sent back for the next."""
    (engine,) = (project / "report/engines").glob("*.onnx")
    engine.write_bytes(b"x")
    with pytest.raises(DeployRefused) as caught:
        judged_report(
            load(project / "hil.toml"), project / "report", "rover", datetime.now(timezone.utc) + timedelta(days=9)
        )
    assert str(caught.value).count("  - ") == 2
