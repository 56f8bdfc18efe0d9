from __future__ import annotations

import hashlib
import json
from datetime import datetime, timedelta, timezone
from typing import TYPE_CHECKING

import pytest

from hil.attestation import Freshness, attest, dsse, statement, verify
from hil.errors import AttestationRefused, ReportRefused, UserError
from hil.gate.gate import seal
from hil.report.canonical import as_document
from hil.report.write_report import begin, finish
from hil.results import Verdict
from tests.attestation import case as cases
from tests.report import sample

if TYPE_CHECKING:
    from pathlib import Path

    from hil.attestation.keys import PublicKey

FINISHED = datetime.fromisoformat("2026-11-22T10:00:42+00:00")


def test_verifying_returns_what_was_signed(tmp_path: Path) -> None:
    """Verifying returns decision, key, report and each subject by role, and judges the report again."""
    case = cases.signed(tmp_path)
    files = (("engine", case.engine()), ("onnx", case.onnx), ("calibration-cache", case.cache))
    verified = verify(case.bundle, keys=case.keys, report=case.report, files=files)  # type: ignore[arg-type] # literals
    assert (verified.gate, verified.decision, verified.key) == ("hil-gate", "PASSED", case.signer.public.id)
    assert verified.report_digest == hashlib.sha256(case.report.read_bytes()).hexdigest()
    assert [s.role for s in verified.subjects] == ["engine"] * 4 + ["onnx"] * 2 + ["calibration-cache"] * 2
    engine = verified.subject("engine", hashlib.sha256(case.engine().read_bytes()).hexdigest())
    assert engine is not None
    assert (engine.model, engine.precision, engine.name) == ("digits", "int8", "engines/digits-int8.onnx")
    assert verified.report is not None
    assert verified.passed


def test_each_file_of_a_model_is_a_subject(tmp_path: Path) -> None:
    """External data, plugins and a deployed ONNX file are subjects by role; callables are covered by the identity."""
    files = {"external-data": "digits.data", "plugin": "libplugin.so", "deployed": "digits-int8.onnx"}
    for role, name in files.items():
        (tmp_path / name).write_text(role)
    report = seal(sample.consisting_of(sample.draft(), {**files, "module": "pre.py"}))
    case = cases.signed(tmp_path, report)
    paths = [(role, tmp_path / name) for role, name in files.items()]
    verified = verify(case.bundle, keys=case.keys, report=case.report, files=paths)  # type: ignore[arg-type] # literals
    subjects = [(subject.role, subject.name) for subject in verified.subjects if subject.model == "digits"]
    assert subjects[2:] == [("onnx", "examples/digits/model.onnx"), *sorted(files.items())]
    assert [subject.identity for subject in verified.by_role("onnx")] == [report.models[0].identity, ""]
    with pytest.raises(AttestationRefused, match="was not judged as external-data"):
        verify(case.bundle, keys=case.keys, files=[("external-data", tmp_path / "libplugin.so")])


@pytest.mark.parametrize("edit", ["no part", "no identity"])
def test_a_signed_part_is_what_the_report_gives(tmp_path: Path, edit: str) -> None:
    """A bundle without a file of the model, or without its identity, does not match the report and is refused."""
    case = cases.signed(tmp_path, seal(sample.consisting_of(sample.draft(), {"external-data": "digits.data"})))
    statement = case.statement()
    if edit == "no part":
        statement["subject"] = [each for each in statement["subject"] if each["annotations"]["role"] != "external-data"]
    else:
        next(each for each in statement["subject"] if each["annotations"]["role"] == "onnx")["annotations"][
            "identity"
        ] = ""
    case.sign_again(statement)
    with pytest.raises(AttestationRefused, match="the signed statement differs from"):
        verify(case.bundle, keys=case.keys, report=case.report)


def test_a_bundle_of_a_report_without_parts_verifies(tmp_path: Path) -> None:
    """A report from before models had parts is signed and verified without an identity."""
    case = cases.signed(tmp_path)
    statement = case.statement()
    for each in statement["subject"]:
        del each["annotations"]["identity"]
    case.sign_again(statement)
    assert verify(case.bundle, keys=case.keys, report=case.report).passed


def test_the_statement_is_that_of_the_specification(tmp_path: Path) -> None:
    """The statement has type v1, predicate test-result v0.1, the gate first, and a digest in every descriptor."""
    statement = cases.signed(tmp_path).statement()
    assert statement["_type"] == "https://in-toto.io/Statement/v1"
    assert statement["predicateType"] == "https://in-toto.io/attestation/test-result/v0.1"
    predicate = statement["predicate"]
    assert predicate["result"] == "PASSED"
    assert [each["name"] for each in predicate["configuration"]] == ["hil-gate", "report.json", "hil.toml"]
    assert all(len(each["digest"]["sha256"]) == 64 for each in (*predicate["configuration"], *statement["subject"]))
    assert "latency.p99 digits int8 saturated" in predicate["passedTests"]


def test_an_unsettled_required_row_is_a_failed_test(tmp_path: Path) -> None:
    """The predicate has no list for skipped tests: inconclusive rows and required rows not run are listed as failed."""
    report = sample.failed()
    case = cases.signed(tmp_path, report)
    predicate = case.statement()["predicate"]
    rows = {check.name: check.verdict for check in report.checks}
    unsettled = {n for n, v in rows.items() if v in (Verdict.FAILED, Verdict.INCONCLUSIVE, Verdict.NOT_RUN)}
    assert {rows[name] for name in unsettled} == {Verdict.FAILED, Verdict.INCONCLUSIVE, Verdict.NOT_RUN}
    assert set(predicate["failedTests"]) == unsettled
    assert set(predicate["passedTests"]) | set(predicate["warnedTests"]) | unsettled == set(rows)


def test_a_failed_report_is_refused_by_default(tmp_path: Path) -> None:
    """A failed report is signed as failed, and ``verify`` refuses it unless ``failed_too`` is set."""
    case = cases.signed(tmp_path, sample.failed())
    with pytest.raises(AttestationRefused, match="decision is FAILED"):
        verify(case.bundle, keys=case.keys, report=case.report)
    verified = verify(case.bundle, keys=case.keys, report=case.report, failed_too=True)
    assert (verified.decision, verified.passed) == ("FAILED", False)


def test_a_run_that_did_not_finish_cannot_be_signed(tmp_path: Path) -> None:
    """An incomplete report and a report without an engine are refused, and nothing is written."""
    begin(tmp_path, sample.draft())
    with pytest.raises(AttestationRefused, match="did not finish"):
        attest(tmp_path, cases.new_signer())
    on_host = [row.model_copy(update={"engine": None}) for row in sample.checks() if row.id in sample.ON_HOST]
    finish(tmp_path, seal(sample.draft(tuple(on_host), models=sample.draft().models)))
    with pytest.raises(AttestationRefused, match="no engine"):
        attest(tmp_path, cases.new_signer())
    assert not (tmp_path / "report.sigstore.json").exists()


def test_a_run_with_guesses_is_never_signed_as_a_pass(tmp_path: Path) -> None:
    """A warned run with unconfirmed guesses is not signed, and its bundle does not verify; a failed run is signed."""
    policy = sample.POLICY.model_copy(update={"warnings": True})
    draft = sample.draft(policy=policy)
    guessing = draft.model_copy(update={"config": draft.config.model_copy(update={"guessed": {"arm": ("task",)}})})
    finish(tmp_path, seal(guessing))
    with pytest.raises(AttestationRefused, match=r"not signed: .*guessed and not confirmed: arm: task"):
        attest(tmp_path, cases.new_signer())
    assert not (tmp_path / "report.sigstore.json").exists()
    case = cases.signed(tmp_path, seal(guessing.model_copy(update={"policy": sample.POLICY})))
    assert case.statement()["predicate"]["result"] == "FAILED"
    warned = seal(guessing)
    case.report.write_text(json.dumps(as_document(warned)))
    content = hashlib.sha256(case.report.read_bytes()).hexdigest()
    case.sign_again(json.loads(statement.write(statement.statement_of(warned, content))))
    with pytest.raises(AttestationRefused, match="guessed and not confirmed"):
        verify(case.bundle, keys=case.keys, report=case.report)


def test_an_engine_that_is_not_the_judged_one_stops_signing(tmp_path: Path) -> None:
    """Engines next to the report are hashed again before signing: a replaced one is refused."""
    case = cases.signed(tmp_path)
    case.engine().write_text("another")
    with pytest.raises(ReportRefused, match="not the file that was judged"):
        attest(tmp_path, case.signer)


def test_a_signer_may_give_either_signature(tmp_path: Path) -> None:
    """A signer may return a signature with either s; the bundle always has the lower one."""

    class Elsewhere:
        key = cases.new_signer()
        public: PublicKey = key.public

        def sign(self, data: bytes) -> bytes:
            return cases.other_signature(self.key.sign(data))

    finish(tmp_path, cases.made())
    attest(tmp_path, Elsewhere())
    assert verify(tmp_path, keys=[Elsewhere.public], report=tmp_path).decision == "PASSED"


@pytest.mark.parametrize("signature", [b"", b"no DER"])
def test_a_signer_without_a_signature_is_refused(tmp_path: Path, signature: bytes) -> None:
    """Bytes that are not a signature are refused like a signature by another key."""

    class Empty:
        public: PublicKey = cases.new_signer().public

        def sign(self, _data: bytes) -> bytes:
            return signature

    finish(tmp_path, cases.made())
    with pytest.raises(AttestationRefused, match="does not verify its signature"):
        attest(tmp_path, Empty())


def test_a_signature_by_another_key_writes_no_bundle(tmp_path: Path) -> None:
    """A signature is verified before the bundle is written, whichever ``Signer`` made it."""

    class Faulty:
        public: PublicKey = cases.new_signer().public

        def sign(self, data: bytes) -> bytes:
            return cases.new_signer().sign(data)

    finish(tmp_path, cases.made())
    with pytest.raises(AttestationRefused, match="does not verify its signature"):
        attest(tmp_path, Faulty())
    assert not (tmp_path / "report.sigstore.json").exists()


def test_a_new_run_deletes_an_old_signature(tmp_path: Path) -> None:
    """When a run begins, the bundle of an earlier report is deleted."""
    case = cases.signed(tmp_path)
    begin(tmp_path, sample.draft(run=sample.run(id="another")))
    assert not case.bundle.exists()


@pytest.mark.parametrize(
    ("fresh", "why"),
    [
        (Freshness(max_age=3600.0), "2 h ago"),
        (Freshness(newer_than=FINISHED), "this is an older report"),
        (Freshness(newer_than=FINISHED + timedelta(days=1)), "this is an older report"),
        (Freshness(commit="a" * 40), "the run's commit is"),
        (Freshness(report="b" * 64), "get the bundle of the requested run"),
    ],
)
def test_a_replayed_report_is_refused(tmp_path: Path, fresh: Freshness, why: str) -> None:
    """A valid signature of an old report is refused by age, time, commit or digest."""
    case = cases.signed(tmp_path)
    with pytest.raises(AttestationRefused, match=why):
        verify(case.bundle, keys=case.keys, report=case.report, fresh=fresh, now=FINISHED + timedelta(hours=2))


def test_a_fresh_report_is_accepted(tmp_path: Path) -> None:
    """A report that meets the required age, time, commit and digest is accepted."""
    commit = "c" * 40
    report = cases.made(sample.draft(run=sample.run(commit=commit)))
    case = cases.signed(tmp_path, report)
    digest = hashlib.sha256(case.report.read_bytes()).hexdigest()
    before = FINISHED - timedelta(seconds=1)
    fresh = Freshness(max_age=86400.0, newer_than=before, commit=commit, report=digest)
    assert verify(case.bundle, keys=case.keys, fresh=fresh, now=FINISHED + timedelta(hours=2)).commit == commit


@pytest.mark.parametrize(("finished", "why"), [(None, "does not state when"), ("yesterday", "does not state when")])
def test_a_report_without_a_finish_time_is_never_fresh(tmp_path: Path, finished: str | None, why: str) -> None:
    """If an age is required, a report without a valid finish time is refused."""
    case = cases.signed(tmp_path, cases.made(sample.draft(run=sample.run(finished=finished))))
    with pytest.raises(AttestationRefused, match=why):
        verify(case.bundle, keys=case.keys, fresh=Freshness(max_age=1e9))


def test_a_report_of_the_future_is_refused(tmp_path: Path) -> None:
    """A report that finished an hour in the future is refused; clocks may differ by a minute."""
    case = cases.signed(tmp_path)
    with pytest.raises(AttestationRefused, match="future"):
        verify(case.bundle, keys=case.keys, fresh=Freshness(max_age=1e9), now=FINISHED - timedelta(hours=1))
    soon = FINISHED - timedelta(seconds=60)
    assert verify(case.bundle, keys=case.keys, fresh=Freshness(max_age=1e9), now=soon).passed


def test_without_a_key_nothing_is_verified(tmp_path: Path) -> None:
    """``verify`` without a key raises ``UserError``."""
    with pytest.raises(UserError, match="no key"):
        verify(cases.signed(tmp_path).bundle, keys=[])


def test_pae_is_that_of_the_specification() -> None:
    """``pae`` gives the result of the example in the DSSE specification."""
    assert dsse.pae(b"hello world", "http://example.com/HelloWorld") == (
        b"DSSEv1 29 http://example.com/HelloWorld 11 hello world"
    )


def test_now_is_the_default(tmp_path: Path) -> None:
    """Without ``now`` the current time is used."""
    report = cases.made(sample.draft(run=sample.run(finished=datetime.now(timezone.utc).isoformat())))
    case = cases.signed(tmp_path, report)
    assert verify(case.bundle, keys=case.keys, fresh=Freshness(max_age=3600.0)).passed
