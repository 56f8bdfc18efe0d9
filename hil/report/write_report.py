"""Writes the report's folder so that no moment of it can be taken for a green run that was not."""

from __future__ import annotations

import contextlib
import errno
import json
import os
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

from hil.errors import HilError, LabError, UserError
from hil.report.canonical import as_document, report_digest
from hil.report.ci import CODE_QUALITY
from hil.report.consistency import problems
from hil.report.schema import Report, count
from hil.report.shown_text import one_line
from hil.results import Cause, CheckResult, Row, TargetUse, not_run
from hil.text import cleaned

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

LONGEST = 300
REPORT, SUMMARY, PAGE = "report.json", "summary.md", "report.html"
JUNIT = "junit.xml"
"""pytest's own report, where none is asked for elsewhere."""
BUNDLE = "report.sigstore.json"
"""The signature, where the report is signed; one of an earlier report must not lie beside a later one."""
THE_LAB = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EIO, errno.EMFILE, errno.ENFILE})


def unfinished(rows: Iterable[Row], target: TargetUse) -> tuple[CheckResult, ...]:
    """The planned rows before anything ran; what a killed run leaves behind as its checks."""
    return tuple(not_run(row, Cause.NO_RESULT, "the run did not finish", target) for row in rows)


def sealed(report: Report) -> Report:
    """The report with its totals counted, its details made plain JSON, all text made safe, and its digest.

    Raises ``HilError`` if it contradicts itself: such a report is never written.
    """
    document = as_document(report.model_copy(update={"totals": count(report.checks), "digest": ""}))
    text = json.dumps(cleaned(document), allow_nan=False)
    result = Report.model_validate_json(text, strict=True)
    result = result.model_copy(update={"digest": report_digest(as_document(result))})
    wrong = list(problems(result))
    if wrong:
        more = f" (and {len(wrong) - 1} more)" if len(wrong) > 1 else ""
        what = one_line(wrong[0], LONGEST) + more
        raise HilError(f"the report contradicts itself: {what}: nothing was written, this is a fault of hil")
    return result


def begin(folder: Path, report: Report) -> None:
    """Puts an ``incomplete`` report into ``folder`` and takes away what an earlier run left there.

    Does nothing if the folder already holds a report of the same run, so that every process of a run
    may call it. Raises ``UserError`` or ``LabError`` if the folder cannot be written.
    """
    if report.status != "incomplete":
        raise ValueError("a run begins incomplete")
    if run_id_in(folder / REPORT) == report.run.id:
        return
    with _told(folder):
        folder.mkdir(parents=True, exist_ok=True)
        replace_file(folder / REPORT, to_json(sealed(report)))
        for name in (SUMMARY, PAGE, BUNDLE, CODE_QUALITY, JUNIT):
            (folder / name).unlink(missing_ok=True)


def finish(folder: Path, report: Report) -> None:
    """Writes ``report.html``, ``summary.md`` and, last, ``report.json``, each replaced atomically.

    ``report`` comes from ``hil.gate.gate.seal``. Raises ``UserError`` or ``LabError`` if the folder cannot
    be written; what ``begin`` put there, an incomplete report, then still stands.
    """
    from hil.report.html import render as page
    from hil.report.markdown import render as summary

    if sealed(report) != report:
        raise ValueError("a report is finished as hil.gate.gate.seal made it")
    with _told(folder):
        folder.mkdir(parents=True, exist_ok=True)
        replace_file(folder / PAGE, page(report, folder))
        replace_file(folder / SUMMARY, summary(report))
        replace_file(folder / REPORT, to_json(report))


def to_json(report: Report) -> str:
    """The text of ``report.json``."""
    return json.dumps(as_document(report), indent=1, ensure_ascii=False, allow_nan=False) + "\n"


def replace_file(path: Path, text: str) -> None:
    """Puts ``text`` into the file ``path``, whole or not at all, and readable by everybody. Raises ``OSError``."""
    handle, temporary = tempfile.mkstemp(prefix=f".{path.name}.", dir=path.parent)
    try:
        with os.fdopen(handle, "w", encoding="utf-8") as file:
            file.write(text)
            file.flush()
            os.fsync(file.fileno())
        Path(temporary).chmod(0o644)  # mkstemp makes it 0600; a pipeline's next job may be another user
        Path(temporary).replace(path)
    except BaseException:
        with contextlib.suppress(OSError):
            Path(temporary).unlink()
        raise
    _sync_folder(path.parent)


def _sync_folder(folder: Path) -> None:
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def run_id_in(path: Path) -> str | None:
    """The id of the run whose report the file ``path`` is, ``None`` if it is no report or not there."""
    try:
        document = json.loads(path.read_bytes())
        return str(document["run"]["id"])
    except (OSError, ValueError, KeyError, TypeError, RecursionError):
        return None


@contextlib.contextmanager
def _told(folder: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        kind = LabError if error.errno in THE_LAB else UserError
        what = f"{folder}: the report cannot be written: {error.strerror or error}"
        raise kind(f"{what}: free some space or name another folder with --hil-report=DIR") from None
