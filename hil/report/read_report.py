"""Read ``report.json`` as a ``Report`` that does not contradict itself; for any other file, raise ``UserError``."""

from __future__ import annotations

import contextlib
import gc
import json
from itertools import islice
from typing import TYPE_CHECKING, Any

from pydantic import ValidationError

from hil.errors import ReportRefused, UserError
from hil.files import strictjson
from hil.report.canonical import report_digest
from hil.report.consistency import problems
from hil.report.schema import SCHEMA_VERSION, Report
from hil.report.shown_text import one_line
from hil.text import cleaned

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

MAX_BYTES = 64 * 2**20
SHOWN = 3
LONGEST = 300
MISSING = "there is no report: run pytest --target=NAME first"
OTHER = "name a report.json, or run the checks again"
DAMAGED = "not a report of hil, or a damaged one: run the checks again"


def read(path: Path) -> Report:
    """Return the report in the file ``path``, or in ``report.json`` of the folder ``path``.

    The recorded decision is not checked; ``hil.gate.gate.open_report`` checks it. Raises ``UserError`` if the file is
    not a report of this schema version, ``ReportRefused`` if the report contradicts itself or its digest, or is of a
    selection of tests.
    """
    path = file_in(path, "report.json")
    return parse(content_of(path), str(path))


def file_in(path: Path, name: str) -> Path:
    """Return ``path`` itself, or the file ``name`` in it if ``path`` is a folder."""
    try:
        return path / name if path.is_dir() else path
    except (OSError, ValueError):  # reading the file raises the error for the user
        return path


def content_of(path: Path, missing: str = MISSING, *, most: int = MAX_BYTES) -> bytes:
    """Return the bytes of the file ``path``. Of a file larger than ``most`` bytes, return the first ``most`` + 1.

    Raises ``UserError`` if the file cannot be read; ``missing`` is the message for a file that does not exist.
    """
    try:
        with path.open("rb") as file:
            return file.read(most + 1)
    except FileNotFoundError:
        raise UserError(f"{path}: {missing}") from None
    except (OSError, ValueError) as error:
        why = (error.strerror if isinstance(error, OSError) else None) or "not a path"
        raise UserError(
            f"{one_line(str(path), LONGEST)}: cannot be read: {why}: name report.json or its folder"
        ) from None


def parse(content: bytes, name: str = "report.json") -> Report:
    """Return the report in ``content``; error messages begin with ``name``. Raises the same errors as ``read``."""
    with collector_paused():
        return _parsed(content, name)


def _parsed(content: bytes, name: str) -> Report:
    if len(content) > MAX_BYTES:
        raise UserError(f"{name}: larger than {MAX_BYTES // 2**20} MiB: this is not a report of hil: {OTHER}")
    document = _document(content, name)
    version = document.get("schema_version")
    if type(version) is not int or version != SCHEMA_VERSION:
        what = f"report of schema version {version}" if type(version) is int else "no schema_version"
        raise UserError(
            f"{name}: {what}: this hil reads version {SCHEMA_VERSION}: use the hil that wrote it, or run again"
        )
    try:
        safe = cleaned(document)  # a report from elsewhere, or of an older hil, may hold unsafe text
        unchanged = safe == document
        report = Report.model_validate_json(content if unchanged else json.dumps(safe), strict=True)
        errors = [] if report.digest == report_digest(document) else ["its content does not match its digest"]
        errors += islice(problems(report), SHOWN)
    except ValidationError as error:
        raise UserError(f"{name}: not a report of hil: {_first_errors(error)}: {OTHER}") from None
    except (RecursionError, ValueError, OverflowError) as error:
        raise UserError(f"{name}: not a report of hil: {type(error).__name__}: {OTHER}") from None
    if errors:
        what = "; ".join(one_line(each, LONGEST) for each in errors)
        raise ReportRefused(f"{name}: the report is damaged or edited: {what}: run the checks again")
    if report.status == "partial":
        what = "it is the report of a selection of tests, which no gate accepts"
        raise ReportRefused(f"{name}: {what}: run pytest without the selection, or with --hil-gate")
    return report


def _document(content: bytes, name: str) -> dict[str, Any]:
    try:
        document = strictjson.loads(content)
    except UnicodeDecodeError as error:
        raise UserError(
            f"{name}: not UTF-8 at byte {error.start}: this is not a report of hil, or a damaged one: {OTHER}"
        ) from None
    except RecursionError:
        raise UserError(f"{name}: nested too deeply: this is not a report of hil: {OTHER}") from None
    except json.JSONDecodeError as error:
        where = f"line {error.lineno} column {error.colno}"
        raise UserError(
            f"{name}: not JSON at {where} ({error.msg}): cut off or damaged: run the checks again"
        ) from None
    except ValueError as error:
        raise UserError(f"{name}: {str(error)[:200]}: {DAMAGED}") from None
    if not isinstance(document, dict):
        raise UserError(f"{name}: not a report of hil: its top level is not an object: {OTHER}")
    return document


@contextlib.contextmanager
def collector_paused() -> Iterator[None]:
    """Pause Python's cyclic garbage collector within the ``with`` block, since parsing a report creates no cycles."""
    running = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if running:
            gc.enable()


def _first_errors(error: ValidationError) -> str:
    errors = error.errors(include_url=False, include_context=False, include_input=False)
    shown = [f"{'.'.join(str(part)[:60] for part in each['loc']) or 'top'}: {each['msg']}" for each in errors[:SHOWN]]
    more = [f"and {len(errors) - SHOWN} more"] if len(errors) > SHOWN else []
    return "; ".join(one_line(each, LONGEST) for each in shown + more)
