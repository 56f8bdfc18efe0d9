"""Write the measured values of a report as CSV, and as a link with which the page itself offers the file."""

from __future__ import annotations

import base64
import csv
import gzip
import io
from typing import TYPE_CHECKING
from urllib.parse import quote

if TYPE_CHECKING:
    from collections.abc import Iterator

    from hil.report.schema import Measured, Report
    from hil.results import CheckResult

COLUMNS = (
    *("check", "model", "precision", "scenario", "verdict", "value", "unit", "low", "high", "confidence", "n", "runs"),
    *("limit", "sense", "evidence"),
)
UNLIMITED = "measured"
"""The word in the column ``verdict`` for a measurement without a limit, which is not judged."""
FORMULA = ("=", "+", "-", "@", "\t", "\r")
"""A spreadsheet takes a text that begins with one of these for a formula. Names of models may be from other people."""
SAFE = " ,:/()+-_.~"


def as_csv(report: Report) -> str:
    """Return CSV text: a header line, then one line for each measurement, including measurements without a limit.

    Values are in the unit of the column ``unit``, exact to the last digit; ``runs`` has the values of separate runs.
    """
    out = io.StringIO()
    writer = csv.writer(out, lineterminator="\n")
    writer.writerow(COLUMNS)
    rows: list[CheckResult | Measured] = [*report.checks, *report.measurements]
    writer.writerows(list(_cells(row)) for row in rows if row.measurement is not None)
    return out.getvalue()


def link(report: Report, *, packed: bool = False) -> tuple[str, str]:
    """Return the text of ``as_csv`` as a ``data:`` URL, and a name for the file."""
    text = as_csv(report)
    if packed:
        content = base64.b64encode(gzip.compress(text.encode(), mtime=0)).decode()
        return f"data:application/gzip;base64,{content}", "measured.csv.gz"
    return f"data:text/csv;charset=utf-8,{quote(text, safe=SAFE)}", "measured.csv"


def _cells(row: CheckResult | Measured) -> Iterator[str]:
    measured, limit, evidence = row.measurement, getattr(row, "limit", None), getattr(row, "evidence", None)
    if measured is None:
        return
    verdict = getattr(row, "verdict", None)
    names = row.id, row.model, row.precision, row.scenario, UNLIMITED if verdict is None else verdict.value
    yield from map(_text, names)
    yield repr(measured.value)
    yield _text(measured.unit)
    yield from (_number(value) for value in (measured.low, measured.high, measured.confidence, measured.n))
    yield " ".join(map(repr, measured.runs))
    yield _number(None if limit is None else limit.value)
    yield "" if limit is None else limit.sense.value
    yield "" if evidence is None else evidence.value


def _number(value: float | None) -> str:
    return "" if value is None else repr(value)


def _text(text: str) -> str:
    return f"'{text}" if text.startswith(FORMULA) else text
