"""Verify a signed report: the signature, the decision and the files. A given report is judged again too."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from datetime import datetime, timedelta, timezone
from typing import TYPE_CHECKING

from hil.attestation import dsse, statement
from hil.attestation.keys import lowest, signature_by
from hil.errors import AttestationRefused, UserError
from hil.files.digests import file_digest
from hil.gate.demands import Circumstances, age_of, commit_problem
from hil.gate.gate import judge
from hil.gate.gate import verify as judge_again
from hil.report.read_report import content_of, file_in, parse
from hil.report.shown_text import one_line
from hil.report.write_report import BUNDLE, REPORT

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence
    from pathlib import Path

    from hil.attestation.keys import PublicKey
    from hil.attestation.statement import Role, Statement, Subject
    from hil.report.schema import Decided, Report

LONGEST = 200
SHORT = 12


@dataclass(frozen=True)
class Freshness:
    """Requirements that exclude old reports and the reports of other runs. A field that is ``None`` requires nothing.

    Attributes:
        max_age: most seconds since the end of the run.
        newer_than: the run must have finished after this time (with time zone).
        commit: full hash of the judged commit.
        report: SHA-256 of ``report.json``.
    """

    max_age: float | None = None
    newer_than: datetime | None = None
    commit: str | None = None
    report: str | None = None


@dataclass(frozen=True)
class Verified:
    """The content of a bundle that met all requirements.

    Attributes:
        gate: the gate's name.
        policy: SHA-256 of the gate's policy.
        decision: the gate's decision; FAILED only if ``verify`` was called with ``failed_too``.
        report_digest: SHA-256 of the bytes of ``report.json``.
        subjects: the files that were judged, engines first.
        key: id of the key that signed the bundle.
        run, finished, target, used, board, module, jetpack, commit, dirty: facts of the run; empty if unknown.
        report: the report, judged again; ``None`` if ``verify`` was called without it.
    """

    gate: str
    policy: str
    decision: Decided
    report_digest: str
    subjects: tuple[Subject, ...]
    key: str
    run: str
    finished: str
    target: str
    used: str
    board: str
    module: str
    jetpack: str
    commit: str
    dirty: str
    report: Report | None = None

    @property
    def passed(self) -> bool:
        """Whether the decision is PASSED or WARNED. It is WARNED only if the policy allows warnings."""
        return self.decision in ("PASSED", "WARNED")

    def by_role(self, role: Role) -> tuple[Subject, ...]:
        """Return the subjects with this role."""
        return tuple(subject for subject in self.subjects if subject.role == role)

    def subject(self, role: Role, sha256: str) -> Subject | None:
        """Return the subject with this role and SHA-256; ``None`` if the bundle has no such subject."""
        return next((each for each in self.by_role(role) if each.sha256 == sha256), None)


def verify(  # noqa: PLR0913 - each is a requirement of its own, passed by keyword
    bundle: Path,
    *,
    keys: Sequence[PublicKey],
    report: Path | None = None,
    files: Iterable[tuple[Role, Path]] = (),
    fresh: Freshness | None = None,
    failed_too: bool = False,
    now: datetime | None = None,
) -> Verified:
    """Return the content of ``bundle`` (a file, or the report's folder) if one of ``keys`` signed it.

    ``report`` is judged again and must give the signed statement. Each of ``files`` must be a subject with the given
    role. Unless ``failed_too`` is true, the report must pass, also by its policy at ``now``.

    Raises:
        AttestationRefused, ReportRefused: a requirement is not met.
        UserError: a file cannot be read, or ``keys`` is empty.
    """
    path = file_in(bundle, BUNDLE)
    name = one_line(str(path), LONGEST)
    content = content_of(path, "there is no bundle: sign the report with hil attest", most=dsse.MOST)
    envelope = dsse.read(content, name)
    key = _signer(envelope, keys, name)
    signed = statement.parse(envelope.payload, name)
    _refuse_high_s(signed, envelope, name)
    judged = None if report is None else _judged_report(signed, report, name)
    for role, file in files:
        _refuse_unjudged_file(signed, role, file, name)
    now = now or datetime.now(timezone.utc)
    _refuse_stale(signed, judged, fresh or Freshness(), name, now)
    if not failed_too:
        _refuse_failed(signed, judged, key, name, now)
    notes = signed.report.annotations.model_dump(exclude={"exit_code"})
    policy = signed.predicate.configuration[0]
    return Verified(
        gate=policy.name,
        policy=policy.digest.sha256,
        decision=signed.predicate.result,
        report_digest=signed.report.digest.sha256,
        subjects=signed.subject,
        key=key.id,
        report=judged,
        **notes,
    )


def _refuse_failed(signed: Statement, report: Report | None, key: PublicKey, name: str, now: datetime) -> None:
    """Raise ``AttestationRefused`` if the signed decision is FAILED, or if ``report`` fails its policy at ``now``."""
    reasons: tuple[str, ...] = ()
    if report is not None:
        around = Circumstances(now, release=True, **signature_by(key, report.policy.signed_by))
        decision = judge(report, report.policy, around=around)
        reasons = decision.reasons if decision.exit_code else ()
    if signed.predicate.result == "FAILED":
        bad = signed.predicate.failedTests
        named = f" ({', '.join(bad[:3])}{'…' if bad[3:] else ''})" if bad else ""
        raise AttestationRefused(f"{name}: the gate's decision is FAILED{named}: fix the failed checks and run again")
    if reasons:
        what = f"the report recorded {signed.predicate.result} and fails now: {'; '.join(reasons)}"
        raise AttestationRefused(f"{name}: refused: {what}: run the checks again")


def _refuse_high_s(signed: Statement, envelope: dsse.Envelope, name: str) -> None:
    """Raise ``AttestationRefused`` for a signature with the higher of the two valid values of s.

    Statements of earlier versions, which lack the annotation ``dirty``, are accepted with either value.
    """
    if "dirty" in signed.report.annotations.model_fields_set and lowest(envelope.signature) != envelope.signature:
        what = "the signature is not in the form that hil writes (the lower s), so it was changed"
        raise AttestationRefused(f"{name}: refused: {what}: sign again with hil attest")


def _signer(envelope: dsse.Envelope, keys: Sequence[PublicKey], name: str) -> PublicKey:
    if not keys:
        raise UserError(f"{name}: no key to verify it with: pass the public key of a trusted signer")
    key = next((each for each in keys if each.id == envelope.key), None)
    if key is None:
        trusted = ", ".join(each.id[:SHORT] for each in keys)
        what = f"it is signed by key {envelope.key[:SHORT]}, which is not trusted (trusted: {trusted})"
        raise AttestationRefused(f"{name}: refused: {what}: have it signed by a trusted key")
    if not key.verifies(envelope.signature, envelope.signed):
        what = f"the signature is not that of key {key.id[:SHORT]} for this content"
        raise AttestationRefused(f"{name}: refused: {what}: edited or damaged: get the bundle again")
    return key


def _judged_report(signed: Statement, report: Path, name: str) -> Report:
    """Return the report in the file ``report``, judged again.

    Raise ``AttestationRefused`` or ``ReportRefused`` unless it is the signed report and gives the signed statement.
    """
    path = file_in(report, REPORT)
    shown = one_line(str(path), LONGEST)
    content = content_of(path)
    digest = hashlib.sha256(content).hexdigest()
    if digest != signed.report.digest.sha256:
        what = f"{shown} is not the report that was signed"
        raise AttestationRefused(f"{name}: refused: {what}: edited, damaged or of another run: use the signed report")
    parsed = parse(content, shown)
    judge_again(parsed, shown)
    if statement.as_signed(statement.statement_of(parsed, digest), signed) != signed:
        what = f"the signed statement differs from the one that {shown} gives"
        raise AttestationRefused(f"{name}: refused: {what}: attest the report again with this version of hil")
    return parsed


def _refuse_unjudged_file(signed: Statement, role: Role, file: Path, name: str) -> None:
    digest = file_digest(file, "name the file that is to be deployed")
    if any(each.role == role and each.sha256 == digest for each in signed.subject):
        return
    judged = ", ".join(f"{each.name} {each.sha256[:SHORT]}" for each in signed.subject if each.role == role) or "none"
    what = f"{one_line(str(file), LONGEST)} ({digest[:SHORT]}) was not judged as {role} (judged: {judged})"
    raise AttestationRefused(f"{name}: refused: {what}: deploy a file that was judged")


def _refuse_stale(signed: Statement, report: Report | None, fresh: Freshness, name: str, now: datetime) -> None:
    """Raise ``AttestationRefused`` if the statement does not meet ``fresh``."""
    notes = signed.report.annotations
    if fresh.report is not None and fresh.report != signed.report.digest.sha256:
        what = f"it signs report {signed.report.digest.sha256[:SHORT]}, but report {fresh.report[:SHORT]} is requested"
        raise AttestationRefused(f"{name}: refused: {what}: get the bundle of the requested run")
    dirty, changed = (notes.is_dirty, ()) if report is None else (report.run.dirty, report.run.changed)
    if fresh.commit is not None and (what := commit_problem(notes.commit, fresh.commit, dirty=dirty, changed=changed)):
        raise AttestationRefused(f"{name}: refused: {what}")
    if fresh.max_age is None and fresh.newer_than is None:
        return
    age, trouble = age_of(notes.finished, now, fresh.max_age)
    if trouble:
        raise AttestationRefused(f"{name}: refused: {trouble}: run the checks again")
    since = fresh.newer_than
    if since is not None and now - timedelta(seconds=age) <= since:
        what = f"the run finished at {notes.finished}, not after {since.isoformat(timespec='seconds')}"
        raise AttestationRefused(f"{name}: refused: {what}: this is an older report: run the checks again")
