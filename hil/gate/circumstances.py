"""The circumstances that a report on disk is judged in: the moment, and who signed it if the policy asks for that."""

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
    report: Path, policy: GateSpec, bundle: Path | None = None, *, now: datetime | None = None
) -> Circumstances:
    """The moment (default: this one), and who of ``policy.signed_by`` signed ``report``.

    The signature is in ``bundle``, by default the one beside the report. Raises nothing foreseeable: what is wrong with
    a signature is the gate's to judge.
    """
    found = Circumstances(now or datetime.now(timezone.utc))
    if not policy.signed_by:
        return found
    from hil.attestation import parse_public, verify

    folder = report if report.is_dir() else report.parent
    try:
        keys = [parse_public(text, "gate.signed_by") for text in policy.signed_by]
        signed = verify(bundle or folder / BUNDLE, keys=keys, report=report, failed_too=True, now=found.now)
    except HilError as error:
        return replace(found, unsigned=f"the policy wants a signature: {error}")
    return replace(found, unsigned="", signer=signed.key)
