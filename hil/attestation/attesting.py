"""Sign a report: judge it again, hash its engines again, and write the bundle next to it."""

from __future__ import annotations

import contextlib
import hashlib
from datetime import datetime, timezone
from typing import TYPE_CHECKING

from hil.attestation import dsse, statement
from hil.attestation.keys import lowest, signature_by
from hil.errors import AttestationRefused, LabError, ReportRefused, UserError
from hil.files.digests import THE_LAB, file_digest
from hil.gate.demands import Circumstances
from hil.gate.gate import judge
from hil.gate.gate import verify as judge_again
from hil.report.read_report import content_of, file_in, parse
from hil.report.write_report import BUNDLE, REPORT, replace_file

if TYPE_CHECKING:
    from pathlib import Path

    from hil.attestation.keys import Signer
    from hil.report.schema import Report


def attest(report: Path, signer: Signer, out: Path | None = None, *, now: datetime | None = None) -> Path:
    """Sign the report in the file (or folder) ``report`` and return the path of the bundle.

    The bundle is ``out``, by default ``report.sigstore.json`` next to the report. A failed report is signed as failed.
    On an error nothing is written.

    Raises:
        ReportRefused: the report was edited, or an engine next to it has another digest.
        AttestationRefused: the report is incomplete, has no engine, or passed but fails at ``now`` with this signer; or
            the signer's public key does not verify the signature.
        UserError, LabError: a file cannot be read or written, or the signer cannot sign.
    """
    path = file_in(report, REPORT)
    content = content_of(path)
    parsed = parse(content, str(path))
    judge_again(parsed, str(path))
    _refuse_changed_engines(parsed, path)
    payload = statement.write(statement.statement_of(parsed, hashlib.sha256(content).hexdigest()))
    key_facts = signature_by(signer.public, parsed.policy.signed_by)
    _refuse_new_failure(parsed, path, Circumstances(now or datetime.now(timezone.utc), release=True, **key_facts))
    signature = signer.sign(dsse.pae(payload))
    with contextlib.suppress(ValueError):  # an invalid signature is refused below
        signature = lowest(signature)
    if not signer.public.verifies(signature, dsse.pae(payload)):
        what = "the signer's public key does not verify its signature"
        raise AttestationRefused(f"{path}: {what}: nothing was written: check the signer's key")
    text = dsse.write(payload, signature, signer.public)
    target = path.parent / BUNDLE if out is None else out
    try:
        replace_file(target, text)
    except OSError as error:
        kind = LabError if error.errno in THE_LAB else UserError
        why = error.strerror or error
        raise kind(f"{target}: the bundle cannot be written: {why}: free some space, or choose another file") from None
    return target


def _refuse_new_failure(report: Report, path: Path, around: Circumstances) -> None:
    """Raise ``AttestationRefused`` if the report recorded a pass and fails now."""
    decision = judge(report, report.policy, around=around)
    if decision.exit_code and not report.exit_code:
        why = "; ".join(decision.reasons)
        what = f"it recorded {report.decision} and fails now: {why}"
        raise AttestationRefused(f"{path}: not signed: {what}: run the checks again")


def _refuse_changed_engines(report: Report, path: Path) -> None:
    for engine in report.engines:
        for name, digest in engine.files:
            file = path.parent / name
            if name and file.exists() and file_digest(file, "check the report's folder") != digest:
                what = f"{file} is not the file that was judged ({engine.model} {engine.precision})"
                raise ReportRefused(f"{path}: refused: {what}: run the checks again")
