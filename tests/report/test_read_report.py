from __future__ import annotations

import json
import os
from typing import TYPE_CHECKING, Any

import pytest

from hil.errors import ReportRefused, UserError
from hil.gate.gate import open_report, seal
from hil.report import read_report as reading
from hil.report.canonical import report_digest
from hil.report.read_report import parse, read
from hil.report.write_report import to_json
from tests.report import sample

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

TEXT = to_json(sample.passed())


def edited(change: Callable[[dict[str, Any]], object], *, digest: bool = True) -> bytes:
    """Return a good report after ``change``, by default with its digest recomputed."""
    document = json.loads(TEXT)
    change(document)
    if digest:
        document["digest"] = report_digest(document)
    return json.dumps(document).encode()


def row(document: dict[str, Any], check_id: str) -> dict[str, Any]:
    """Return the first row of ``check_id``."""
    first: dict[str, Any] = next(check for check in document["checks"] if check["id"] == check_id)
    return first


def test_a_written_report_is_read_unchanged() -> None:
    """The report that is read equals the written one in every field."""
    assert parse(TEXT.encode()) == sample.passed()


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "not JSON"),
        (TEXT.encode()[: len(TEXT) // 2], "not JSON"),
        (b"\xff\xfe" + TEXT.encode("utf-16-le"), "not UTF-8"),
        (b"[" * 100_000, "nested too deeply"),
        (b'{"a":' * 100_000, "nested too deeply"),
        (b"[]", "its top level is not an object"),
        (b"null", "its top level is not an object"),
        (b"{}", "no schema_version"),
        (b'{"schema_version": true}', "no schema_version"),
        (b'{"schema_version": 1}', "not a report of hil"),
        (b'{"schema_version": 2}', "report of schema version 2: this hil reads version 1"),
        (b'{"schema_version": 1, "schema_version": 1}', "occurs twice"),
        (b'{"schema_version": 1, "value": NaN}', "NaN is not JSON"),
        (b'{"schema_version": 1, "value": -Infinity}', "-Infinity is not JSON"),
        (b'{"schema_version": 1, "value": 1e999}', "out of range"),
        (b'{"schema_version": 1, "value": -' + b"7" * 400 + b"}", "7777 is out of range"),
        (b'{"schema_version": 1, "value": ' + b"7" * 5000 + b"}", "7777 is out of range"),
        (b'{"schema_version": ' + b"9" * 5000 + b"}", "report.json: "),
    ],
)
def test_a_file_that_is_not_a_report_is_refused_in_one_line(content: bytes, message: str) -> None:
    """Damaged files, other files and newer versions give one line each, and exit code 4."""
    with pytest.raises(UserError) as caught:
        parse(content)
    assert message in str(caught.value)
    assert "\n" not in str(caught.value)
    assert caught.value.exit_code == 4


def test_the_message_about_a_missing_file_states_what_to_run(tmp_path: Path) -> None:
    """A path without a report is the user's mistake, and the message states what to run."""
    with pytest.raises(UserError, match="run pytest --target"):
        read(tmp_path / "report.json")
    with pytest.raises(UserError, match="cannot be read"):
        read(tmp_path / ("x" * 5000))


def test_a_file_that_is_too_large_is_not_parsed(tmp_path: Path) -> None:
    """A file of more than 64 MiB is refused."""
    path = tmp_path / "report.json"
    with path.open("wb") as file:
        os.truncate(file.fileno(), reading.MAX_BYTES + 1)
    with pytest.raises(UserError, match="larger than 64 MiB"):
        read(path)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda d: d["totals"].update(passed=89, failed=1), "totals do not add up"),
        (lambda d: d["totals"].update(planned=91), "totals do not add up"),
        (lambda d: d["checks"].pop(), "totals do not add up"),
        (lambda d: d["checks"].append(d["checks"][0]), "is judged 2 times"),
        (lambda d: row(d, "latency.p99").update(verdict="failed"), "totals do not add up"),
        (lambda d: row(d, "latency.p99")["measurement"].update(value=0.0051), "does not follow from its own"),
        (lambda d: row(d, "latency.p99")["measurement"].update(high=0.0051), "does not follow from its own"),
        (lambda d: row(d, "latency.p99")["measurement"].update(high=None), "no confidence bound"),
        (lambda d: row(d, "latency.p99")["measurement"].update(n=0), "has no samples"),
        (lambda d: row(d, "latency.p99")["measurement"].update(unit="ms"), "the limit's is"),
        (lambda d: row(d, "latency.p99").update(measurement=None), "has a limit but no measurement"),
        (lambda d: row(d, "latency.p99")["limit"].update(value=0.0001), "does not follow from its own"),
        (lambda d: row(d, "fps.sustained")["limit"].update(value=10000.0), "does not follow from its own"),
        (lambda d: row(d, "int8.speedup")["measurement"].update(low=0.9), "does not follow from its own"),
        (lambda d: row(d, "parity.outputs").update(verdict="not_run"), "totals do not add up"),
        (lambda d: row(d, "parity.outputs").update(cause="crashed"), "in spite of its cause"),
        (lambda d: row(d, "parity.outputs").update(required=False), "the policy requires it"),
        (lambda d: row(d, "parity.outputs").update(evidence="cpu-fallback"), "contradicts its target"),
        (lambda d: row(d, "parity.outputs")["target"].update(requested="orin"), "requested target 'orin'"),
        (lambda d: row(d, "parity.outputs")["target"].update(used="orin"), "ran on target 'orin'"),
        (lambda d: row(d, "parity.outputs").update(engine="0" * 64), "its engine 000000000000 is not in the report"),
        (lambda d: d["methods"].clear(), "is not in the report"),
        (lambda d: next(iter(d["methods"].values())).update(warmup="none"), "does not match its digest"),
        (lambda d: next(iter(d["environments"].values())).update(cores=64), "does not match its digest"),
        (lambda d: d["engines"][0].update(file="../../etc/passwd"), "outside the report's folder"),
        (lambda d: d.update(decision=None), "complete but has no decision"),
        (lambda d: d.update(status="incomplete"), "incomplete but has a decision"),
        (lambda d: d.update(status="partial"), "partial but has a decision"),
        (
            lambda d: d.update(status="partial", decision=None, exit_code=None),
            "of a selection of tests, which no gate accepts",
        ),
    ],
)
def test_an_edited_report_is_refused(change: Callable[[dict[str, Any]], object], message: str) -> None:
    """An edited report with a recomputed digest contradicts itself and is refused with exit code 1."""
    with pytest.raises(ReportRefused) as caught:
        parse(edited(change))
    assert message in str(caught.value)
    assert caught.value.exit_code == 1


def test_an_edit_without_its_digest_is_refused() -> None:
    """An edited reason without a new digest is refused."""
    with pytest.raises(ReportRefused, match="does not match its digest"):
        parse(edited(lambda d: d["checks"][0].update(reason="fine"), digest=False))


@pytest.mark.parametrize("require", [["[" * 100_000], ["*"] * 100_000])
def test_a_policy_with_too_much_to_match_is_refused(require: list[str]) -> None:
    """Too long patterns and too many patterns are refused before any is matched."""
    with pytest.raises(UserError, match=r"policy\.require"):
        parse(edited(lambda d: d["policy"].update(require=require)))


def test_white_space_is_harmless() -> None:
    """White space outside of strings does not change a report."""
    assert parse(json.dumps(json.loads(TEXT), indent=8).encode()) == sample.passed()


@pytest.mark.parametrize("value", ["1", 1.0, True])
def test_types_are_strict(value: object) -> None:
    """``"1"``, ``1.0`` and ``true`` are not accepted as the integer 1."""
    with pytest.raises(UserError):
        parse(edited(lambda d: d["totals"].update(not_run=value)))


def test_a_fleet_is_read_and_judged(tmp_path: Path) -> None:
    """A report of 40 models in 3 precisions (2,600 rows) can be read and judged."""
    path = tmp_path / "report.json"
    path.write_text(to_json(sample.large()), encoding="utf-8")
    assert open_report(path) == sample.large()


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda m: m["parts"][1].update(digest="0" * 64), "its identity is not the digest of its parts"),
        (lambda m: m["parts"][1].update(role="plugin"), "its identity is not the digest of its parts"),
        (lambda m: m["parts"].pop(), "its identity is not the digest of its parts"),
        (lambda m: m.update(parts=[]), "its identity is not the digest of its parts"),
        (lambda m: m.update(identity=None), "its identity is not the digest of its parts"),
        (lambda m: m.update(digest="0" * 64), "the digest of its ONNX file is not the one listed in its parts"),
        (lambda m: m["parts"].append(m["parts"][1]), "external-data digits.data is listed 2 times"),
    ],
)
def test_a_model_matches_its_parts(change: Callable[[dict[str, Any]], object], message: str) -> None:
    """Identity, parts and the ONNX file's digest must match."""
    report = seal(sample.consisting_of(sample.draft(), {"external-data": "digits.data", "plugin": "p.so"}))
    document = json.loads(to_json(report))
    assert parse(json.dumps(document).encode()) == report
    change(document["models"][0])
    document["digest"] = report_digest(document)
    with pytest.raises(ReportRefused, match=message):
        parse(json.dumps(document).encode())
