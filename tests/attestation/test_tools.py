"""Other tools verify the bundles that hil signs."""

from __future__ import annotations

import base64
import json
import os
import shutil
import subprocess
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from cryptography.hazmat.primitives.asymmetric.ec import EllipticCurvePublicKey
from cryptography.hazmat.primitives.serialization import load_pem_public_key
from google.protobuf import json_format
from in_toto_attestation.predicates.test_result.v0.test_result_pb2 import TestResult as Result  # type: ignore[import-untyped]  # it ships no types
from in_toto_attestation.v1.statement import Statement  # type: ignore[import-untyped]  # it ships no types
from in_toto_attestation.v1.statement_pb2 import Statement as Message  # type: ignore[import-untyped]  # it ships no types
from securesystemslib.dsse import Envelope
from securesystemslib.exceptions import VerificationError
from securesystemslib.signer import SSlibKey  # type: ignore[attr-defined] # it is public, and in no __all__

from tests.attestation import case as cases

if TYPE_CHECKING:
    from tests.attestation.case import Case

MODULES = "HIL_SIGSTORE_MODULES"
SCRIPT = Path(__file__).parent / "verify.cjs"


@pytest.fixture
def case(tmp_path: Path) -> Case:
    """A signed report, with its public key as a file next to it."""
    made = cases.signed(tmp_path)
    (tmp_path / "hil.pub").write_text(made.signer.public.pem)
    return made


def edit_result(case: Case) -> None:
    """Change the decision in the payload and keep the signature."""
    document = case.document()
    payload = base64.b64decode(document["dsseEnvelope"]["payload"])
    assert b'"result":"PASSED"' in payload
    changed = payload.replace(b'"result":"PASSED"', b'"result":"FAILED"')
    document["dsseEnvelope"]["payload"] = base64.b64encode(changed).decode()
    case.put(document)


def envelope(case: Case) -> Envelope:
    """Return the bundle's envelope as securesystemslib reads it."""
    return Envelope.from_dict(case.document()["dsseEnvelope"])


def test_securesystemslib_verifies_the_envelope(case: Case) -> None:
    """The library securesystemslib accepts the signature, and refuses an edited payload and another key."""
    key = SSlibKey.from_crypto(_loaded(case), keyid=case.signer.public.id)
    accepted = envelope(case).verify([key], threshold=1)
    assert list(accepted) == [case.signer.public.id]
    stranger = cases.signed(case.folder / "other")
    with pytest.raises(VerificationError):
        envelope(case).verify([SSlibKey.from_crypto(_loaded(stranger), keyid=case.signer.public.id)], threshold=1)
    edit_result(case)
    with pytest.raises(VerificationError):
        envelope(case).verify([key], threshold=1)


def _loaded(case: Case) -> EllipticCurvePublicKey:
    key = load_pem_public_key(case.signer.public.pem.encode())
    assert isinstance(key, EllipticCurvePublicKey)
    return key


def test_in_toto_reads_the_statement(case: Case) -> None:
    """The in-toto library accepts the statement and reads every field of its predicate."""
    statement = case.statement()
    read = json_format.Parse(json.dumps(statement), Message())  # accepts JSON names such as _type
    Statement.copy_from_pb(read).validate()
    result = json_format.ParseDict(statement["predicate"], Result())
    assert result.result == "PASSED"
    assert result.configuration[0].name == "hil-gate"
    assert len(result.passed_tests) == len(statement["predicate"]["passedTests"])


def test_sigstore_verifies_the_bundle(case: Case) -> None:
    """Sigstore's JavaScript verifier accepts the bundle with the key, and refuses an edited one."""
    modules = os.environ.get(MODULES, "")
    if shutil.which("node") is None or not (Path(modules) / "node_modules" / "@sigstore" / "verify").is_dir():
        pytest.skip(f"@sigstore/verify is not there: npm install it and name the folder in {MODULES}")
    command = ["node", str(SCRIPT), modules, str(case.bundle), str(case.folder / "hil.pub")]
    done = subprocess.run(command, capture_output=True, check=True)
    assert json.loads(done.stdout) == case.statement()
    edit_result(case)
    failed = subprocess.run(command, capture_output=True, check=False)
    assert failed.returncode != 0
    assert b"SIGNATURE_ERROR" in failed.stderr


@pytest.mark.skipif(shutil.which("openssl") is None, reason="openssl is not there")
def test_openssl_verifies_the_signature(case: Case) -> None:
    """OpenSSL verifies the signature as plain ECDSA over the pre-authentication encoding."""
    envelope_ = case.document()["dsseEnvelope"]
    payload = base64.b64decode(envelope_["payload"])
    kind = envelope_["payloadType"]
    (case.folder / "signed").write_bytes(f"DSSEv1 {len(kind)} {kind} {len(payload)} ".encode() + payload)
    (case.folder / "sig").write_bytes(base64.b64decode(envelope_["signatures"][0]["sig"]))
    command = ["openssl", "dgst", "-sha256", "-verify", "hil.pub", "-signature", "sig", "signed"]
    done = subprocess.run(command, cwd=case.folder, capture_output=True, check=True)
    assert b"Verified OK" in done.stdout
