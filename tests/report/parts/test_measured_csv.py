"""The measured values as CSV, which the page offers without any script."""

from __future__ import annotations

import base64
import csv
import gzip
import io
import re
from html import unescape
from typing import TYPE_CHECKING
from urllib.parse import unquote

from hil.report import html
from hil.report.parts.measured_csv import COLUMNS, as_csv
from tests.report import sample

if TYPE_CHECKING:
    from hil.report.schema import Measured
    from hil.results import CheckResult


def test_every_measurement_is_a_line() -> None:
    """Each measurement, with or without a limit, is a line with its exact values; the page links to this CSV."""
    report = sample.failed()
    rows = list(csv.DictReader(io.StringIO(as_csv(report))))
    both: list[CheckResult | Measured] = [*report.checks, *report.measurements]
    measured = [row for row in both if row.measurement is not None]
    assert [row["check"] for row in rows] == [row.id for row in measured]
    for line, row in zip(rows, measured, strict=True):
        assert tuple(line) == COLUMNS
        assert row.measurement is not None
        assert float(line["value"]) == row.measurement.value
        assert line["low"] == ("" if row.measurement.low is None else repr(row.measurement.low))
    assert {row["verdict"] for row in rows} >= {"passed", "failed", "measured"}
    (href,) = re.findall(r'href="data:text/csv;charset=utf-8,([^"]*)" download="measured.csv"', html.render(report))
    assert unquote(unescape(href)) == as_csv(report)


def test_a_large_report_has_it_packed() -> None:
    """The page of a large report links to the CSV in compressed form."""
    report = sample.large()
    (href,) = re.findall(r'href="data:application/gzip;base64,([^"]*)" download="measured.csv.gz"', html.render(report))
    assert gzip.decompress(base64.b64decode(href)).decode() == as_csv(report)


def test_a_name_is_no_formula() -> None:
    """A name that a spreadsheet would execute is marked as text."""
    report = sample.passed()
    rows = tuple(row.model_copy(update={"model": f"=HYPERLINK({row.model})"}) for row in report.checks)
    lines = list(csv.DictReader(io.StringIO(as_csv(report.model_copy(update={"checks": rows})))))
    assert lines[0]["model"].startswith("'=HYPERLINK(")
