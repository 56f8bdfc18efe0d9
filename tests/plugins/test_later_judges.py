"""A later judge may refuse what a run passed, never the reverse."""

from __future__ import annotations

import json
import subprocess
from typing import TYPE_CHECKING

from cryptography.hazmat.primitives import serialization

from hil.gate.gate import seal
from hil.report.read_report import parse
from hil.report.write_report import finish
from tests.attestation import case as cases
from tests.plugins.project import SUITES, Project

if TYPE_CHECKING:
    from hil.report.schema import Report

SOME = (*SUITES, "--target=cpu", "-k", "signature", "--hil-gate")
OTHER_MODEL = """
[models.other]
path = "toy.onnx"
data = "validation.npz"
task = "classification"
precisions = ["fp32"]

[gate]"""


def git(project: Project, *arguments: str) -> str:
    """Run git in the project."""
    author = ("-c", "user.name=ann", "-c", "user.email=ann@example.org")
    command = ["git", *author, *arguments]
    done = subprocess.run(command, cwd=project.root, capture_output=True, text=True, check=True)
    return done.stdout.strip()


def commit(project: Project) -> str:
    """Commit all files that git does not ignore, and return the commit."""
    if not (project.root / ".git").exists():
        git(project, "init", "-q")
        (project.root / ".gitignore").write_text("cache\nreport\n__pycache__\n*.key\n*.pub\nconftest.py\n")
    git(project, "add", ".")
    git(project, "commit", "-qm", "all")
    return git(project, "rev-parse", "HEAD")


def keys(project: Project) -> None:
    """Write a new key pair to ``hil.key`` and ``hil.pub``."""
    pem, path = cases.pem(), project.root / "hil.key"
    path.write_bytes(pem)
    path.chmod(0o600)
    public = serialization.load_pem_private_key(pem, None).public_key()
    form = serialization.PublicFormat.SubjectPublicKeyInfo
    (project.root / "hil.pub").write_bytes(public.public_bytes(serialization.Encoding.PEM, form))


def edited(project: Project, **changes: object) -> Report:
    """Replace fields of the project's report and seal it as its run would have done."""
    folder = project.root / "report"
    report = parse((folder / "report.json").read_bytes())
    draft = report.model_copy(update={"digest": "", "decision": None, "exit_code": None, "reasons": (), **changes})
    sealed = seal(draft)
    finish(folder, sealed)
    return sealed


def test_a_required_check_is_required_of_every_model(project: Project) -> None:
    """If the policy requires ``latency.p99`` and one model has no such limit, run and gate both fail."""
    project.edit("[gate]", OTHER_MODEL)
    project.require("contract.signature", "latency.p99 toy")
    ran = project.run(*SUITES, "--target=cpu", "-k", "signature or (p99 and toy)", "--hil-gate")
    assert ran.code == 0, ran.out
    strict = '[gate]\nrequire = ["contract.signature", "latency.p99"]\nevidence = "host"\n'
    (project.root / "strict.toml").write_text(strict)
    judged = project.hil("gate", "report", "--policy", "strict.toml", "--json")
    assert judged.code == 1, judged.out
    assert "latency.p99 other fp32" in judged.out
    project.edit('"latency.p99 toy"', '"latency.p99"')
    again = project.run(*SUITES, "--target=cpu", "-k", "p99 and other", "--hil-gate")
    assert again.code == 1, again.out
    assert "no_limit" in again.out


def test_a_dirty_tree_and_another_report_are_refused(project: Project) -> None:
    """A conftest that git ignores counts as a change: judges that require a clean tree or a commit refuse it."""
    project.require("contract.signature")
    sha = commit(project)
    (project.root / "conftest.py").write_text("")
    ran = project.run(*SOME)
    assert ran.code == 0, ran.out
    assert ran.report is not None
    assert (ran.report["run"]["commit"], ran.report["run"]["dirty"]) == (sha, True)
    assert ran.report["run"]["changed"] == ["conftest.py"]
    assert ran.report["policy"]["clean"] is False
    for shown in (ran.out, *((project.root / "report" / name).read_text() for name in ("summary.md", "report.html"))):
        assert "with uncommitted files: conftest.py" in " ".join(shown.replace("│", " ").split()), shown[:500]
    keys(project)
    assert project.hil("attest", "report", "--key", "hil.key").code == 0
    verified = project.hil("verify", "report", "--key", "hil.pub", "--json")
    assert (verified.code, json.loads(verified.out)["dirty"]) == (0, True)
    for command in (
        ("gate", "report", "--commit", sha),
        ("verify", "report", "--key", "hil.pub", "--commit", sha),
    ):
        refused = project.hil(*command)
        assert refused.code == 1, command
        assert "conftest.py" in refused.out
    (project.root / "clean.toml").write_text(
        '[gate]\nrequire = ["contract.signature"]\nevidence = "host"\nclean = true\n'
    )
    assert "conftest.py" in project.hil("gate", "report", "--policy", "clean.toml").out
    # Without the conftest, the run uses only committed files.
    (project.root / "conftest.py").unlink()
    project.edit('evidence = "host"', 'evidence = "host"\nclean = true')
    sha = commit(project)
    ran = project.run(*SOME)
    assert ran.code == 0, ran.out
    assert ran.report is not None
    assert ran.report["run"]["dirty"] is False
    run = ran.report["run"]["id"]
    right = project.hil("gate", "report", "--commit", sha, "--run", run, "--target", "cpu", "--json")
    assert right.code == 0, right.out
    answer = json.loads(right.out)
    assert answer["asked_for"] == {"commit": sha, "run": run, "target": "cpu"}
    assert (answer["report"]["commit"], answer["report"]["run"], answer["report"]["target"]) == (sha, run, "cpu")
    for option, value, code in (
        ("--commit", "0" * 40, 1),
        ("--commit", sha[:12], 4),
        ("--commit", "", 4),
        ("--run", "another", 1),
        ("--run", "", 4),
        ("--target", "orin", 1),
        ("--target", "", 4),
    ):
        refused = project.hil("gate", "report", f"{option}={value}")
        assert refused.code == code, (option, value, refused.out)


def test_what_expired_since_the_run_is_refused(project: Project) -> None:
    """If a tolerance expired after the run, gate and attest refuse, and the recorded decision stays."""
    project.require("parity.outputs")
    project.edit("[measure]", '[models.toy.tolerances.fp32]\nmax_abs = 1e-3\nexpires = "2100-01-31"\n\n[measure]')
    ran = project.run(*SUITES, "--target=cpu", "-k", "test_outputs", "--hil-gate")
    assert ran.code == 0, ran.out
    keys(project)
    assert project.hil("attest", "report", "--key", "hil.key").code == 0
    assert project.hil("gate", "report").code == 0
    report = parse((project.root / "report" / "report.json").read_bytes())
    rows = tuple(
        row.model_copy(update={"details": {**row.details, "tolerance_given": {"expires": "2020-01-31"}}})
        if row.id == "parity.outputs"
        else row
        for row in report.checks
    )
    assert edited(project, checks=rows).exit_code == 0
    judged = project.hil("gate", "report", "--json")
    assert judged.code == 1, judged.out
    answer = json.loads(judged.out)
    assert answer["recorded"] == {"decision": "PASSED", "exit_code": 0}
    assert "its tolerance expired on 2020-01-31" in " ".join(answer["reasons"])
    refused = project.hil("attest", "report", "--key", "hil.key")
    assert (refused.code, "not signed" in refused.out) == (1, True), refused.out
