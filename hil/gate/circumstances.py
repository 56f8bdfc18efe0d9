"""Determines the circumstances in which a report on disk is judged: the time, and who signed it if that matters."""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime, timezone
from typing import TYPE_CHECKING

from hil.errors import HilError
from hil.gate.demands import Circumstances
from hil.report.write_report import BUNDLE

if TYPE_CHECKING:
    from pathlib import Path

    from hil.config.spec import GateSpec


def circumstances(
    report: Path, policy: GateSpec, bundle: Path | None = None, *, now: datetime | None = None, release: bool = False
) -> Circumstances:
    """Return the circumstances at the time ``now`` (by default the current time), with the key that signed ``report``.

    The signature is read from ``bundle``, by default next to the report, and only if ``policy.signed_by`` has keys. If
    it does not verify, ``unsigned`` in the result has the reason; nothing is raised.
    """
    unsigned = Circumstances(now or datetime.now(timezone.utc), release=release)
    if not policy.signed_by:
        return unsigned
    from hil.attestation import parse_public, verify

    folder = report if report.is_dir() else report.parent
    try:
        keys = [parse_public(text, "gate.signed_by") for text in policy.signed_by]
        signed = verify(bundle or folder / BUNDLE, keys=keys, report=report, failed_too=True, now=unsigned.now)
    except HilError as error:
        return replace(unsigned, unsigned=f"the policy requires a signature: {error}")
    return replace(unsigned, unsigned="", signer=signed.key)
