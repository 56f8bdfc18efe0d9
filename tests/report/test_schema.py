from __future__ import annotations

import json
from typing import TYPE_CHECKING

import jsonschema
import pytest
from pydantic import ValidationError

from hil.report.schema import Report, count, report_schema
from hil.report.write_report import to_json
from tests.report import sample

if TYPE_CHECKING:
    from pathlib import Path


def test_the_published_schema_is_this_one(repository: Path) -> None:
    """``docs/report-v1.schema.json`` is what ``hil schema --report`` prints."""
    published = json.loads((repository / "docs" / "report-v1.schema.json").read_text(encoding="utf-8"))
    assert published == report_schema(), "run: hil schema --report > docs/report-v1.schema.json"


@pytest.mark.parametrize("make", [sample.passed, sample.failed, sample.fallback, sample.draft])
def test_written_reports_satisfy_the_published_schema(make: object) -> None:
    """Every report that hil writes is valid by the published schema."""
    schema = report_schema()
    jsonschema.Draft202012Validator.check_schema(schema)
    report = make() if callable(make) else None
    assert isinstance(report, Report)
    jsonschema.validate(json.loads(to_json(report)), schema)


def test_the_fields_that_pipelines_read_exist() -> None:
    """The report has the fields that other pipelines read."""
    document = json.loads(to_json(sample.failed()))
    assert document["schema_version"] == 1
    assert document["status"] == "complete"
    assert document["decision"] == "FAILED"
    assert list(document["totals"]) == ["planned", "passed", "warned", "failed", "inconclusive", "not_run"]
    for name in ("id", "model", "precision", "verdict", "reason", "cause", "evidence", "measurement", "limit"):
        assert all(name in row for row in document["checks"])
    assert document["checks"][0]["target"] == {"requested": "cpu", "used": "cpu"}


def test_an_unknown_field_is_an_error() -> None:
    """An unknown field is refused."""
    with pytest.raises(ValidationError, match="extra"):
        Report.model_validate_json(json.dumps({**json.loads(to_json(sample.passed())), "signed": True}))


def test_count_adds_up() -> None:
    """``planned`` is the number of rows."""
    rows = sample.failed().checks
    totals = count(rows)
    others = totals.passed + totals.warned + totals.failed + totals.inconclusive + totals.not_run
    assert totals.planned == len(rows) == others
