"""Write the report's folder. Even after a crash, the folder never shows a pass that the run did not have."""

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
from hil.report.parts.selected import selected
from hil.report.schema import Report, count
from hil.report.shown_text import one_line
from hil.results import Cause, CheckResult, Row, TargetUse, not_run
from hil.text import cleaned

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

LONGEST = 300
REPORT, SUMMARY, PAGE = "report.json", "summary.md", "report.html"
JUNIT = "junit.xml"
"""pytest's JUnit report, unless the user names another file for it."""
BUNDLE = "report.sigstore.json"
"""The file of the report's signature. A new run deletes the signature of an earlier report."""
FILES = (REPORT, SUMMARY, PAGE, BUNDLE, CODE_QUALITY, JUNIT)
"""The files of a report that a new run replaces or deletes."""
THE_LAB = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EIO, errno.EMFILE, errno.ENFILE})


def unfinished(rows: Iterable[Row], target: TargetUse) -> tuple[CheckResult, ...]:
    """Return a result ``not_run`` for every planned row, for the report that stays if the run is killed."""
    return tuple(not_run(row, Cause.NO_RESULT, "the run did not finish", target) for row in rows)


def sealed(report: Report) -> Report:
    """Return the report with its totals counted, its details as plain JSON, unsafe text escaped, and its digest set.

    Raises ``HilError`` if the report contradicts itself: such a report is never written.
    """
    document = as_document(report.model_copy(update={"totals": count(report.checks), "digest": ""}))
    text = json.dumps(cleaned(document), allow_nan=False)
    result = Report.model_validate_json(text, strict=True)
    result = result.model_copy(update={"digest": report_digest(as_document(result))})
    errors = list(problems(result))
    if errors:
        more = f" (and {len(errors) - 1} more)" if len(errors) > 1 else ""
        what = one_line(errors[0], LONGEST) + more
        raise HilError(f"the report contradicts itself: {what}: nothing was written: this is a bug in hil, report it")
    return result


def begin(folder: Path, report: Report) -> None:
    """Write the ``incomplete`` report into ``folder`` and delete the other files of an earlier run's report.

    Do nothing if ``folder`` has a report of the same run already. Raises ``UserError`` or ``LabError`` if the folder
    cannot be written; ``ValueError`` for a report that is not ``incomplete``.
    """
    if report.status != "incomplete":
        raise ValueError("a run begins incomplete")
    if run_id_in(folder / REPORT) == report.run.id:
        return
    with _write_errors(folder):
        folder.mkdir(parents=True, exist_ok=True)
        replace_file(folder / REPORT, to_json(sealed(report)))
        for name in FILES[1:]:
            (folder / name).unlink(missing_ok=True)


def update(folder: Path, report: Report) -> None:
    """Replace the ``incomplete`` report of the same run in ``folder`` by ``report``, which has more judged rows.

    Do nothing if ``folder`` has another run's report or a finished one. Raises as ``begin`` does.
    """
    if report.status != "incomplete":
        raise ValueError("only finish() writes a complete report")
    if state_of(folder / REPORT) == (report.run.id, "incomplete"):
        with _write_errors(folder):
            replace_file(folder / REPORT, to_json(sealed(report)))


def finish(folder: Path, report: Report) -> None:
    """Write ``report.html``, ``summary.md`` and, last, ``report.json``. Each file is replaced atomically.

    For a selection of tests, page and summary show only the selected rows. Raises ``UserError`` or ``LabError`` if the
    folder cannot be written; ``ValueError`` if ``report`` is not sealed (``sealed``, ``hil.gate.gate.seal``).
    """
    from hil.report.html import render as page
    from hil.report.markdown import render as summary

    if sealed(report) != report:
        raise ValueError("finish() accepts only a report that hil.gate.gate.seal() returned")
    with _write_errors(folder):
        folder.mkdir(parents=True, exist_ok=True)
        replace_file(folder / PAGE, page(selected(report), folder))
        replace_file(folder / SUMMARY, summary(selected(report)))
        replace_file(folder / REPORT, to_json(report))


def to_json(report: Report) -> str:
    """Return the text of ``report.json``."""
    return json.dumps(as_document(report), indent=1, ensure_ascii=False, allow_nan=False) + "\n"


def replace_file(path: Path, text: str) -> None:
    """Write ``text`` to ``path`` atomically, and make the file readable by all users. Raises ``OSError`` on failure."""
    replace_bytes(path, text.encode())


def replace_bytes(path: Path, content: bytes) -> None:
    """Write ``content`` to ``path`` as ``replace_file`` does."""
    handle, temporary = tempfile.mkstemp(prefix=f".{path.name}.", dir=path.parent)
    try:
        with os.fdopen(handle, "wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        Path(temporary).chmod(0o644)  # mkstemp creates it as 0600; a later CI job may run as another user
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


def state_of(path: Path) -> tuple[str, str] | None:
    """Return run id and status of the report in the file ``path``; ``None`` if it is missing or not a report."""
    try:
        document = json.loads(path.read_bytes())
        return str(document["run"]["id"]), str(document["status"])
    except (OSError, ValueError, KeyError, TypeError, RecursionError):
        return None


def run_id_in(path: Path) -> str | None:
    """Return the run id of the report in the file ``path``; ``None`` if the file is missing or not a report."""
    try:
        document = json.loads(path.read_bytes())
        return str(document["run"]["id"])
    except (OSError, ValueError, KeyError, TypeError, RecursionError):
        return None


@contextlib.contextmanager
def _write_errors(folder: Path) -> Iterator[None]:
    """Convert an ``OSError`` within the ``with`` block to a ``UserError`` or ``LabError`` that names ``folder``."""
    try:
        yield
    except OSError as error:
        kind = LabError if error.errno in THE_LAB else UserError
        what = f"{folder}: the report cannot be written: {error.strerror or error}"
        raise kind(f"{what}: free some space or name another folder with --hil-report=DIR") from None
