from __future__ import annotations

from hil.gate.gate import seal
from hil.report.write_report import to_json
from tests.fuzz.report import GOODNESS, answer, fuzz
from tests.report import sample


def test_mutated_reports_are_refused_or_read() -> None:
    """Damage never makes the reader crash or report a better decision."""
    assert fuzz(200, seed=1) > 130


def test_no_single_byte_makes_a_failed_report_pass() -> None:
    """Replacing, deleting or doubling a byte at the start of a failed report never makes it pass."""
    report = seal(sample.with_row(sample.draft(sample.checks(("arm",), ("fp32",))[:1]), "contract.signature",
                                         verdict="failed", reason="no"))  # fmt: skip
    text = to_json(report).encode()
    assert GOODNESS[report.decision] == 0
    for place in range(0, min(len(text), 1500), 7):
        for other in (b"", b" ", b"1", b'"', text[place : place + 1] * 2):
            assert answer(text[:place] + other + text[place + 1 :]) in {None, "FAILED"}
