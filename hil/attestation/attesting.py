"""Signing a report: judged again, its engines hashed again, one bundle written beside it."""

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
    """Signs the report in the file (or folder) ``report``; returns the bundle, ``report.sigstore.json`` beside it.

    A failed report is signed as failed. Raises ``ReportRefused`` for one that was edited or whose engines, where they
    lie beside it, are not those it names; ``AttestationRefused`` for one that did not finish or has no engine, and for
    one that passed and does not any more, judged by its policy at ``now`` with this signer; and as the signer does.
    Nothing is written then.
    """
    path = file_in(report, REPORT)
    content = content_of(path)
    found = parse(content, str(path))
    judge_again(found, str(path))
    _engines(found, path)
    payload = statement.write(statement.statement_of(found, hashlib.sha256(content).hexdigest()))
    _still_good(found, path, Circumstances(now or datetime.now(timezone.utc), **_signature(found, signer)))
    signature = signer.sign(dsse.pae(payload))
    with contextlib.suppress(ValueError):  # what is not a signature is refused below
        signature = lowest(signature)
    if not signer.public.signed(signature, dsse.pae(payload)):
        raise AttestationRefused(f"{path}: the signer's signature is not its own key's: nothing was written: see to it")
    text = dsse.write(payload, signature, signer.public)
    target = path.parent / BUNDLE if out is None else out
    try:
        replace_file(target, text)
    except OSError as error:
        kind = LabError if error.errno in THE_LAB else UserError
        why = error.strerror or error
        raise kind(f"{target}: the bundle cannot be written: {why}: free some space, or name another place") from None
    return target


def _signature(report: Report, signer: Signer) -> dict[str, str]:
    return signature_by(signer.public, report.policy.signed_by)


def _still_good(report: Report, path: Path, around: Circumstances) -> None:
    """A recorded failure is signed as one; what passed then and fails now would be signed as passed."""
    decision = judge(report, report.policy, around=around)
    if decision.exit_code and not report.exit_code:
        why = "; ".join(decision.reasons)
        raise AttestationRefused(f"{path}: not signed: it recorded {report.decision} and fails by now: {why}")


def _engines(report: Report, path: Path) -> None:
    for engine in report.engines:
        for name, digest in engine.files:
            file = path.parent / name
            if name and file.exists() and file_digest(file, "look at the report's folder") != digest:
                what = f"{file} is not the file that was judged ({engine.model} {engine.precision})"
                raise ReportRefused(f"{path}: refused: {what}: run the checks again")
