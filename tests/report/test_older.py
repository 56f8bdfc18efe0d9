from __future__ import annotations

import shutil
from datetime import datetime, timezone
from pathlib import Path

import pytest

from hil.attestation import attest, public_key, verify
from hil.errors import AttestationRefused
from hil.gate.circumstances import circumstances
from hil.gate.demands import Circumstances
from hil.gate.gate import judge, open_report
from tests.attestation import case as cases

OLDER = Path(__file__).parent / "older"
"""Reports and bundles of real runs, written and signed by a version of hil whose policies had no ``clean``."""
NOW = datetime(2026, 12, 1, tzinfo=timezone.utc)
LATER = datetime(2027, 5, 1, tzinfo=timezone.utc)
"""A time at which the tolerance of the passed report has expired, but its limits have not."""
KINDS = [("passed", "PASSED", 0), ("warned", "WARNED", 0), ("failed", "FAILED", 1)]


@pytest.mark.parametrize(("name", "decision", "code"), KINDS)
def test_an_older_report_is_read_and_judged_as_recorded(name: str, decision: str, code: int) -> None:
    """Reworded reasons and newer rules do not change the recorded decision of an older report."""
    report = open_report(OLDER / name)
    assert (report.decision, report.exit_code) == (decision, code)
    around = circumstances(OLDER / name / "report.json", report.policy, now=NOW)
    assert judge(report, report.policy, around=around).exit_code == code
    assert report.policy.clean is None
    assert not report.run.changed


@pytest.mark.parametrize(("name", "decision", "code"), KINDS)
def test_an_older_bundle_is_verified_and_an_older_report_signed(
    name: str, decision: str, code: int, tmp_path: Path
) -> None:
    """A statement without ``dirty`` verifies against its report, and the report can be signed again."""
    keys = [public_key(OLDER / "older.pub")]
    verified = verify(OLDER / name, keys=keys, report=OLDER / name, failed_too=True, now=NOW)
    assert (verified.decision, verified.dirty) == (decision, "")
    if code:
        with pytest.raises(AttestationRefused, match="FAILED"):
            verify(OLDER / name, keys=keys, report=OLDER / name, now=NOW)
    else:
        assert verify(OLDER / name, keys=keys, report=OLDER / name, now=NOW).passed
    shutil.copytree(OLDER / name, tmp_path / name)
    signer = cases.new_signer()
    attest(tmp_path / name, signer, now=NOW)
    again = verify(tmp_path / name, keys=[signer.public], report=tmp_path / name, failed_too=True, now=NOW)
    assert (again.decision, again.dirty) == (decision, "no")


def test_newer_rules_judge_an_older_report_only_with_circumstances(tmp_path: Path) -> None:
    """``judge`` applies expiry and the clean tree only with circumstances; ``verify`` and ``attest`` apply expiry."""
    report = open_report(OLDER / "passed")
    assert judge(report, report.policy, around=Circumstances(LATER)).exit_code == 1
    assert judge(report, report.policy).exit_code == 0
    with pytest.raises(AttestationRefused, match="expired on 2027-03-31"):
        verify(OLDER / "passed", keys=[public_key(OLDER / "older.pub")], report=OLDER / "passed", now=LATER)
    shutil.copytree(OLDER / "passed", tmp_path / "passed")
    with pytest.raises(AttestationRefused, match="expired on 2027-03-31"):
        attest(tmp_path / "passed", cases.new_signer(), now=LATER)
    dirty = report.model_copy(update={"run": report.run.model_copy(update={"dirty": None})})
    clean = report.policy.model_copy(update={"clean": True})
    assert judge(report, clean, around=Circumstances(NOW)).exit_code == 0
    assert judge(dirty, clean, around=Circumstances(NOW)).exit_code == 1
