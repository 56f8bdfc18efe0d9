from __future__ import annotations

import base64
import hashlib
import json
import random
from typing import TYPE_CHECKING, Any

import pytest

from hil.attestation import verify
from hil.attestation.keys import lowest
from hil.errors import AttestationRefused, UserError
from hil.gate.gate import seal
from hil.report.canonical import report_digest
from hil.report.write_report import finish
from tests.attestation import case as cases
from tests.fuzz import tamper
from tests.report import sample

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from tests.attestation.case import Case


def refused(case: Case, why: str, **changes: Any) -> None:
    """Assert that ``verify`` refuses the bundle with ``why``; ``changes`` replace its arguments, as ``report=None``."""
    with pytest.raises(UserError, match=why):
        verify(case.bundle, **{"keys": case.keys, "report": case.report, **changes})


def test_recomputed_totals_under_an_old_signature(tmp_path: Path) -> None:
    """A failed report edited to PASSED, with new totals and digest, does not match the signature of the original."""
    case = cases.signed(tmp_path, sample.failed())
    finish(tmp_path, cases.made())
    refused(case, "not the report that was signed")


def test_a_signature_over_another_report(tmp_path: Path) -> None:
    """The valid signature of another run's report is refused."""
    other = cases.signed(tmp_path / "other", cases.made(sample.draft(run=sample.run(id="another"))))
    case = cases.signed(tmp_path / "this", signer=other.signer)
    case.bundle.write_bytes(other.bundle.read_bytes())
    refused(case, "not the report that was signed")


def test_another_key(tmp_path: Path) -> None:
    """A signature by an untrusted key is refused, even if the bundle names a trusted key."""
    case = cases.signed(tmp_path)
    thief = cases.new_signer()
    case.sign_again(case.statement(), thief)
    refused(case, "which is not trusted")
    document = case.document()
    document["verificationMaterial"]["publicKey"]["hint"] = case.signer.public.hint
    document["dsseEnvelope"]["signatures"][0]["keyid"] = case.signer.public.id
    case.put(document)
    refused(case, "not that of key")


@pytest.mark.parametrize("dirty", ["no", ""])
def test_the_other_signature_of_the_same_key(tmp_path: Path, dirty: str) -> None:
    """The second valid signature (r, n - s), which anybody can compute, is refused, whatever ``dirty`` states."""
    case = cases.signed(tmp_path)
    statement = case.statement()
    statement["predicate"]["configuration"][1]["annotations"]["dirty"] = dirty
    case.sign_again(statement)
    document = case.document()
    signature = base64.b64decode(document["dsseEnvelope"]["signatures"][0]["sig"])
    other = cases.other_signature(signature)
    assert lowest(other) == signature != other
    document["dsseEnvelope"]["signatures"][0]["sig"] = base64.b64encode(other).decode()
    case.put(document)
    refused(case, "not in the form that hil writes")


def test_a_swapped_subject(tmp_path: Path) -> None:
    """An engine that was not judged, an engine passed as a model, and a statement about another engine are refused."""
    case = cases.signed(tmp_path)
    rogue = tmp_path / "rogue.plan"
    rogue.write_text("never judged")
    refused(case, "was not judged as engine", files=[("engine", rogue)])
    refused(case, "was not judged as onnx", files=[("onnx", case.engine())])
    refused(case, "was not judged as engine", files=[("engine", case.onnx)])
    statement = case.statement()
    statement["subject"][0]["digest"]["sha256"] = hashlib.sha256(b"never judged").hexdigest()
    document = case.document()
    document["dsseEnvelope"]["payload"] = base64.b64encode(json.dumps(statement).encode()).decode()
    case.put(document)
    refused(case, "not that of key")


def test_a_statement_that_differs_from_the_report(tmp_path: Path) -> None:
    """If the report is available, a statement signed by the right key must still match it in every part."""
    case = cases.signed(tmp_path, sample.failed())
    good = case.statement()
    statement = json.loads(json.dumps(good))
    statement["predicate"] |= {"result": "PASSED", "warnedTests": [], "failedTests": []}
    case.sign_again(statement)
    refused(case, "differs from the one that .* gives")
    statement = json.loads(json.dumps(good))
    statement["subject"][0]["digest"]["sha256"] = "0" * 64
    case.sign_again(statement)
    refused(case, "differs from the one that .* gives", failed_too=True)
    statement = json.loads(json.dumps(good))
    statement["predicate"]["configuration"][0]["digest"]["sha256"] = "0" * 64
    case.sign_again(statement)
    refused(case, "differs from the one that .* gives", failed_too=True)


def test_a_result_that_contradicts_its_tests(tmp_path: Path) -> None:
    """Without the report, a statement with result PASSED and failed tests is refused."""
    case = cases.signed(tmp_path, sample.failed())
    statement = case.statement()
    for result in ("PASSED", "WARNED"):
        statement["predicate"]["result"] = result
        case.sign_again(statement)
        refused(case, "lists tests with worse results", report=None)


def test_a_downgraded_schema(tmp_path: Path) -> None:
    """A report, statement, predicate or bundle of another version is refused."""
    case = cases.signed(tmp_path)
    document = json.loads(case.report.read_text())
    document["schema_version"] = 0
    document["digest"] = report_digest(document)
    case.report.write_text(json.dumps(document))
    statement = case.statement()
    statement["predicate"]["configuration"][1]["digest"]["sha256"] = hashlib.sha256(
        case.report.read_bytes()
    ).hexdigest()
    case.sign_again(statement)
    refused(case, "schema version 0")
    for key, value in (
        ("_type", "https://in-toto.io/Statement/v0.1"),
        ("predicateType", "https://in-toto.io/attestation/test-result/v0.0"),
    ):
        case.sign_again({**statement, key: value})
        refused(case, "not a statement of hil", report=None)
    case = cases.signed(tmp_path)
    case.put({**case.document(), "mediaType": "application/vnd.dev.sigstore.bundle+json;version=0.2"})
    refused(case, "media type")


def test_a_duplicate_key(tmp_path: Path) -> None:
    """A repeated JSON key in report, statement or bundle is refused: readers could use different values."""
    case = cases.signed(tmp_path)
    payload = json.dumps(case.statement())
    case.sign_again(payload.replace('"result": "PASSED"', '"result": "FAILED", "result": "PASSED"').encode())
    refused(case, "a key occurs twice", report=None)
    case = cases.signed(tmp_path)
    text = case.bundle.read_text()
    case.bundle.write_text(text.replace('{"mediaType"', '{"mediaType":"x","mediaType"', 1))
    refused(case, "a key occurs twice")
    case = cases.signed(tmp_path)
    case.report.write_text(case.report.read_text().replace("{", '{"status": "complete",', 1))
    statement = case.statement()
    statement["predicate"]["configuration"][1]["digest"]["sha256"] = hashlib.sha256(
        case.report.read_bytes()
    ).hexdigest()
    case.sign_again(statement)
    refused(case, "a key occurs twice")


def test_a_bundle_with_two_signatures(tmp_path: Path) -> None:
    """A bundle with no signature or with two signatures is refused."""
    case = cases.signed(tmp_path)
    document = case.document()
    signatures = document["dsseEnvelope"]["signatures"]
    for wrong in ([*signatures, *signatures], []):
        document["dsseEnvelope"]["signatures"] = wrong
        case.put(document)
        refused(case, "exactly one signature")


ODD: tuple[tuple[str, Callable[[dict[str, Any]], Any]], ...] = (
    ("an unknown field", lambda d: d.update(extra=1)),
    ("a missing field", lambda d: d.pop("verificationMaterial")),
    ("an entry of a transparency log", lambda d: d["verificationMaterial"].update(tlogEntries=[{}])),
    ("another payload type", lambda d: d["dsseEnvelope"].update(payloadType="text/plain")),
    ("padding within base64", lambda d: d["dsseEnvelope"].update(payload=d["dsseEnvelope"]["payload"] + "\n")),
    ("invalid base64", lambda d: d["dsseEnvelope"].update(payload="é")),
    ("an empty payload", lambda d: d["dsseEnvelope"].update(payload="")),
    ("a payload that is not a text", lambda d: d["dsseEnvelope"].update(payload=7)),
    ("a second key id", lambda d: d["dsseEnvelope"]["signatures"][0].update(keyid="0" * 64)),
    ("a certificate in place of a key", lambda d: d["verificationMaterial"].update(publicKey={"rawBytes": "AAAA"})),
)


@pytest.mark.parametrize(("what", "change"), ODD, ids=[what for what, _ in ODD])
def test_an_odd_bundle(tmp_path: Path, what: str, change: Callable[[dict[str, Any]], Any]) -> None:
    """A bundle that is not exactly in hil's form is refused before its signature is verified."""
    case = cases.signed(tmp_path)
    document = case.document()
    change(document)
    case.put(document)
    with pytest.raises(AttestationRefused):
        verify(case.bundle, keys=case.keys)
    assert what


NOT_BUNDLES = (b"", b"{}", b"[]", b"null", b"[" * 100_000, b"\xff", b'{"a":NaN}', b"x" * (9 << 20))


@pytest.mark.parametrize("content", NOT_BUNDLES, ids=range(len(NOT_BUNDLES)))
def test_a_file_that_is_not_a_bundle(tmp_path: Path, content: bytes) -> None:
    """A file that is not a bundle gives one message, whatever its depth or size."""
    case = cases.signed(tmp_path)
    case.bundle.write_bytes(content)
    with pytest.raises(AttestationRefused):
        verify(case.bundle, keys=case.keys)


def test_a_statement_with_an_unknown_field(tmp_path: Path) -> None:
    """A statement with an unknown field is refused."""
    case = cases.signed(tmp_path)
    case.sign_again({**case.statement(), "note": "trust me"})
    refused(case, "not a statement of hil", report=None)


def test_a_policy_that_was_loosened(tmp_path: Path) -> None:
    """A report whose policy was loosened after the signing is refused."""
    case = cases.signed(tmp_path)
    loose = sample.draft(policy=sample.POLICY.model_copy(update={"require": ("contract.*",)}))
    finish(tmp_path, seal(loose))
    refused(case, "not the report that was signed")


def test_single_bytes(tmp_path: Path) -> None:
    """A changed byte anywhere in any signed file is refused (a sample of ``python -m tests.fuzz.tamper``)."""
    folder = tamper.prepare(tmp_path)
    chance = random.Random(6)  # noqa: S311 - repeatable, not secret
    problems = [tamper.attempt(folder, kind, chance) for kind in tamper.KINDS for _ in range(30)]
    assert not [problem for problem in problems if problem]
