"""Whether a report is signed as a policy wants it, as one of the circumstances that the gate judges."""

from __future__ import annotations

from datetime import datetime, timezone
from typing import TYPE_CHECKING

from hil.attestation.keys import parse_public
from hil.attestation.verifying import verify
from hil.demands import Circumstances
from hil.errors import HilError
from hil.report.write import BUNDLE

if TYPE_CHECKING:
    from pathlib import Path

    from hil.config.spec import GateSpec


def circumstances(report: Path, policy: GateSpec, bundle: Path | None = None) -> Circumstances:
    """The moment, and who of ``policy.signed_by`` signed ``report``, by the bundle (default: the one beside it).

    Raises nothing foreseeable: what is wrong with a signature is the gate's to judge.
    """
    now = datetime.now(timezone.utc)
    folder = report if report.is_dir() else report.parent
    try:
        keys = [parse_public(text, "gate.signed_by") for text in policy.signed_by]
        found = verify(bundle or folder / BUNDLE, keys=keys, report=report, failed_too=True, now=now)
    except HilError as error:
        return Circumstances(now, unsigned=f"the policy wants a signature: {error}")
    return Circumstances(now, unsigned="", signer=found.key)
