from __future__ import annotations

import json

from cryptography.hazmat.primitives import serialization

from hil.attestation import PublicKey, parse_public, verify
from hil.errors import ExitCode
from tests.attestation import case as cases
from tests.plugins.project import SUITES, Project

USER = int(ExitCode.USER_ERROR)
SOME = (*SUITES, "--target=cpu", "-k", "signature")
LEAK = """
import os

def test_no_key_is_in_reach():
    assert "SIGNING" not in os.environ
    assert "HIL_SIGN_KEY_PASSWORD" not in os.environ
"""


def test_a_run_signs_its_report(project: Project) -> None:
    """The bundle verifies report and engine; neither key nor password is in the tests' environment or any output."""
    pem = cases.pem(password="correct horse").decode()  # noqa: S106 - of a key of this test
    project.env |= {"SIGNING": pem, "HIL_SIGN_KEY_PASSWORD": "correct horse"}
    project.require("contract.signature")
    (project.root / "test_leak.py").write_text(LEAK)
    ran = project.run(*SOME[:-1], "signature or leak", "test_leak.py", "--hil-sign-key=env:SIGNING")
    assert ran.code == 0, ran.out
    assert "signed: report/report.sigstore.json" in ran.out
    assert ran.report is not None
    folder = project.root / "report"
    engine = folder / ran.report["engines"][0]["file"]
    hint = json.loads((folder / "report.sigstore.json").read_text())["dsseEnvelope"]["signatures"][0]["keyid"]
    key = _public(pem)
    assert key.id == hint
    assert verify(folder, keys=[key], report=folder, files=[("engine", engine)]).decision == "PASSED"
    lines = [line for line in pem.splitlines() if "-----" not in line]
    written = "".join(path.read_text(errors="replace") for path in folder.rglob("*") if path.is_file()) + ran.out
    assert not [line for line in lines if line in written]
    assert "correct horse" not in written


def _public(pem: str) -> PublicKey:
    key = serialization.load_pem_private_key(pem.encode(), b"correct horse").public_key()
    kind = serialization.PublicFormat.SubjectPublicKeyInfo
    return parse_public(key.public_bytes(serialization.Encoding.PEM, kind))


def test_a_key_that_cannot_sign_ends_the_run_before_it_begins(project: Project) -> None:
    """A missing file or variable, or a key in place of a path, is a user error whose message does not show the key."""
    pem = cases.pem().decode()
    for key in ("no-such.key", "env:NO_SUCH", pem):
        ran = project.run(*SOME, f"--hil-sign-key={key}")
        assert ran.code == USER, ran.out
        assert "Traceback" not in ran.out
        assert ran.report is None
        assert pem.splitlines()[1] not in ran.out


def test_a_gate_that_requires_a_signature_requires_the_key_first(project: Project) -> None:
    """If the policy lists signers, ``--hil-gate`` without a listed key is a user error before anything runs."""
    listed = cases.new_signer().public
    line = "".join(listed.pem.splitlines()[1:-1])
    project.edit('evidence = "host"', f'evidence = "host"\nsigned_by = ["{line}"]')
    ran = project.run(*SOME, "--hil-gate")
    assert (ran.code, "needs a signature" in ran.out) == (USER, True), ran.out
    project.env["SIGNING"] = cases.pem().decode()
    ran = project.run(*SOME, "--hil-gate", "--hil-sign-key=env:SIGNING")
    assert (ran.code, "is not listed in gate.signed_by" in ran.out) == (USER, True), ran.out
