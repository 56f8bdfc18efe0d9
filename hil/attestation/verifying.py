"""Verifying a signed report: who signed, what was decided, of which files. Nothing is believed that can be judged."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from datetime import datetime, timedelta, timezone
from typing import TYPE_CHECKING

from hil.attestation import dsse, statement
from hil.attestation.keys import lowest, signature_by
from hil.errors import AttestationRefused, UserError
from hil.files.digests import file_digest
from hil.gate.demands import Circumstances, age_of, not_of_commit
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
    """What keeps an older report from being shown again; what is ``None`` is not asked.

    ``max_age`` in seconds since the run finished; ``newer_than`` the moment (with its zone) that it must have finished
    after; ``commit`` the commit that was judged, in full; ``report`` the SHA-256 of ``report.json``.
    """

    max_age: float | None = None
    newer_than: datetime | None = None
    commit: str | None = None
    report: str | None = None


@dataclass(frozen=True)
class Verified:
    """What a bundle says, after its signature and all that was asked for held.

    Attributes:
        gate: the gate's name; ``policy`` the SHA-256 of its policy.
        decision: PASSED or WARNED; FAILED only where ``verify`` was told to return that too.
        report_digest: SHA-256 of the bytes of ``report.json``.
        subjects: the files that were judged, engines first.
        key: id of the key that signed.
        run, finished, target, used, board, module, jetpack, commit, dirty: of the run; empty where there is none.
        report: the report itself, judged again, where it was at hand.
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
        """Whether the gate let it through: warnings count only where its policy allows them, so WARNED did pass."""
        return self.decision in ("PASSED", "WARNED")

    def by_role(self, role: Role) -> tuple[Subject, ...]:
        """The subjects that are ``engine``, ``onnx`` or ``calibration-cache``."""
        return tuple(subject for subject in self.subjects if subject.role == role)

    def subject(self, role: Role, sha256: str) -> Subject | None:
        """The subject of this role and SHA-256, if it is one."""
        return next((each for each in self.by_role(role) if each.sha256 == sha256), None)


def verify(  # noqa: PLR0913 - each is a question of its own, asked by name
    bundle: Path,
    *,
    keys: Sequence[PublicKey],
    report: Path | None = None,
    files: Iterable[tuple[Role, Path]] = (),
    fresh: Freshness | None = None,
    failed_too: bool = False,
    now: datetime | None = None,
) -> Verified:
    """What the bundle (a file, or the report's folder) says, if one of ``keys`` signed it.

    With ``report`` its ``report.json`` must be the one that was signed; it is read and judged again by its own policy,
    and all that was signed must be what it gives. Each of ``files`` must be a subject of the named role. A decision
    other than PASSED and WARNED is refused unless ``failed_too``, and so is a report that passed and does not any more,
    judged at ``now`` with this signature. Raises ``AttestationRefused`` (and ``ReportRefused``)
    for what does not hold, ``UserError`` for what cannot be read.
    """
    path = file_in(bundle, BUNDLE)
    name = one_line(str(path), LONGEST)
    content = content_of(path, "there is no bundle: sign the report with hil attest", most=dsse.MOST)
    envelope = dsse.read(content, name)
    key = _signer(envelope, keys, name)
    said = statement.parse(envelope.payload, name)
    _in_one_form(said, envelope, name)
    judged = None if report is None else _judged(said, report, name)
    for role, file in files:
        _subject(said, role, file, name)
    now = now or datetime.now(timezone.utc)
    _fresh(said, judged, fresh or Freshness(), name, now)
    if not failed_too:
        _good(said, judged, key, name, now)
    notes = said.report.annotations.model_dump(exclude={"exit_code"})
    policy = said.predicate.configuration[0]
    return Verified(
        gate=policy.name,
        policy=policy.digest.sha256,
        decision=said.predicate.result,
        report_digest=said.report.digest.sha256,
        subjects=said.subject,
        key=key.id,
        report=judged,
        **notes,
    )


def _good(said: Statement, report: Report | None, key: PublicKey, name: str, now: datetime) -> None:
    """What was signed passed, and a report at hand does so in today's circumstances, too."""
    reasons: tuple[str, ...] = ()
    if report is not None:
        around = Circumstances(now, **signature_by(key, report.policy.signed_by))
        decision = judge(report, report.policy, around=around)
        reasons = decision.reasons if decision.exit_code else ()
    if said.predicate.result == "FAILED":
        bad = said.predicate.failedTests
        named = f" ({', '.join(bad[:3])}{'…' if bad[3:] else ''})" if bad else ""
        raise AttestationRefused(f"{name}: the gate's decision is FAILED{named}: see the report: mend and run again")

    if reasons:
        what = f"the report recorded {said.predicate.result} and fails by now: {'; '.join(reasons)}"
        raise AttestationRefused(f"{name}: refused: {what}: run the checks again")


def _in_one_form(said: Statement, envelope: dsse.Envelope, name: str) -> None:
    """Of the two signatures that whoever has one can make, only the one that hil writes.

    Statements of before ``dirty`` was among their annotations were signed with either.
    """
    if said.report.annotations.dirty and lowest(envelope.signature) != envelope.signature:
        what = "the signature is not in the form that hil writes (the lower s), so something touched it"
        raise AttestationRefused(f"{name}: refused: {what}: sign again with hil attest")


def _signer(envelope: dsse.Envelope, keys: Sequence[PublicKey], name: str) -> PublicKey:
    if not keys:
        raise UserError(f"{name}: no key to verify it with: name the public key of whoever may sign")
    key = next((each for each in keys if each.id == envelope.key), None)
    if key is None:
        trusted = ", ".join(each.id[:SHORT] for each in keys)
        what = f"signed by key {envelope.key[:SHORT]}, which is not trusted here ({trusted})"
        raise AttestationRefused(f"{name}: refused: {what}: have it signed by a key that is")
    if not key.signed(envelope.signature, envelope.signed):
        what = f"the signature is not that of key {key.id[:SHORT]} over what is there"
        raise AttestationRefused(f"{name}: refused: {what}: edited or damaged: get the bundle again")
    return key


def _judged(said: Statement, report: Path, name: str) -> Report:
    path = file_in(report, REPORT)
    shown = one_line(str(path), LONGEST)
    content = content_of(path)
    digest = hashlib.sha256(content).hexdigest()
    if digest != said.report.digest.sha256:
        what = f"{shown} is not the report that was signed"
        raise AttestationRefused(f"{name}: refused: {what}: edited, damaged or of another run: bring the two together")
    found = parse(content, shown)
    judge_again(found, shown)
    if statement.as_signed(statement.statement_of(found, digest), said) != said:
        what = f"what was signed is not what {shown} gives"
        raise AttestationRefused(f"{name}: refused: {what}: attest the report again, with the hil that reads it")
    return found


def _subject(said: Statement, role: Role, file: Path, name: str) -> None:
    digest = file_digest(file, "name the file that is to be deployed")
    if any(each.role == role and each.sha256 == digest for each in said.subject):
        return
    there = [f"{each.name} {each.sha256[:SHORT]}" for each in said.subject if each.role == role]
    what = (
        f"{one_line(str(file), LONGEST)} ({digest[:SHORT]}) is no {role} that was judged ({', '.join(there) or 'none'})"
    )
    raise AttestationRefused(f"{name}: refused: {what}: deploy the file that was")


def _fresh(said: Statement, report: Report | None, fresh: Freshness, name: str, now: datetime) -> None:
    notes = said.report.annotations
    if fresh.report is not None and fresh.report != said.report.digest.sha256:
        what = f"it is of report {said.report.digest.sha256[:SHORT]}, asked for is {fresh.report[:SHORT]}"
        raise AttestationRefused(f"{name}: refused: {what}: another run's: get the one that is meant")
    dirty, changed = (notes.is_dirty, ()) if report is None else (report.run.dirty, report.run.changed)
    if fresh.commit is not None and (what := not_of_commit(notes.commit, fresh.commit, dirty=dirty, changed=changed)):
        raise AttestationRefused(f"{name}: refused: {what}: run the checks on that commit")
    if fresh.max_age is None and fresh.newer_than is None:
        return
    age, trouble = age_of(notes.finished, now, fresh.max_age)
    if trouble:
        raise AttestationRefused(f"{name}: refused: {trouble}: run the checks again")
    since = fresh.newer_than
    if since is not None and now - timedelta(seconds=age) <= since:
        what = f"the run finished at {notes.finished}, not after {since.isoformat(timespec='seconds')}"
        raise AttestationRefused(f"{name}: refused: {what}: an older report, shown again: run the checks again")
