"""Reads ``report.json``: a ``Report`` that holds together, or one ``UserError``; nothing else."""

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
DAMAGED = "no report of hil, or one cut off or damaged: run the checks again"


def read(path: Path) -> Report:
    """The report in the file ``path`` (or in the folder ``path``).

    Raises ``UserError`` for what is no report of this version, ``ReportRefused`` for one that
    contradicts itself. The recorded decision is judged again by ``hil.gate.gate.open_report``.
    """
    path = file_in(path, "report.json")
    return parse(content_of(path), str(path))


def file_in(path: Path, name: str) -> Path:
    """The file ``path``, or the file ``name`` in the folder ``path``."""
    try:
        return path / name if path.is_dir() else path
    except (OSError, ValueError):  # what is wrong with it is told when it is read
        return path


def content_of(path: Path, missing: str = MISSING, *, most: int = MAX_BYTES) -> bytes:
    """The bytes of the file ``path``, at most one over ``most``; ``missing`` is said where there is none.

    Raises ``UserError`` if it cannot be read.
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
    """The report in these bytes; ``name`` goes into the messages. Raises as ``read`` does."""
    with collector_paused():
        return _parsed(content, name)


def _parsed(content: bytes, name: str) -> Report:
    if len(content) > MAX_BYTES:
        raise UserError(f"{name}: larger than {MAX_BYTES // 2**20} MiB: this is no report of hil")
    document = _document(content, name)
    version = document.get("schema_version")
    if type(version) is not int or version != SCHEMA_VERSION:
        what = f"report of schema version {version}" if type(version) is int else "no schema_version"
        raise UserError(f"{name}: {what}: this hil reads {SCHEMA_VERSION}: use the hil that wrote it, or run again")
    try:
        safe = cleaned(document)  # somebody else's report, or one that was written before texts were safe
        same = safe == document
        report = Report.model_validate_json(content if same else json.dumps(safe), strict=True)
        wrong = [] if report.digest == report_digest(document) else ["its content does not match its digest"]
        wrong += islice(problems(report), SHOWN)
    except ValidationError as error:
        raise UserError(f"{name}: not a report of hil: {_first_errors(error)}") from None
    except (RecursionError, ValueError, OverflowError) as error:
        raise UserError(f"{name}: not a report of hil: {type(error).__name__}") from None
    if wrong:
        what = "; ".join(one_line(each, LONGEST) for each in wrong)
        raise ReportRefused(f"{name}: refused, damaged or edited: {what}: run the checks again")
    return report


def _document(content: bytes, name: str) -> dict[str, Any]:
    try:
        document = strictjson.loads(content)
    except UnicodeDecodeError as error:
        raise UserError(
            f"{name}: not UTF-8 at byte {error.start}: this is no report of hil, or a damaged one"
        ) from None
    except RecursionError:
        raise UserError(f"{name}: nested too deeply: this is no report of hil") from None
    except json.JSONDecodeError as error:
        where = f"line {error.lineno} column {error.colno}"
        raise UserError(
            f"{name}: not JSON at {where} ({error.msg}): cut off or damaged: run the checks again"
        ) from None
    except ValueError as error:
        raise UserError(f"{name}: {str(error)[:200]}: {DAMAGED}") from None
    if not isinstance(document, dict):
        raise UserError(f"{name}: not a report of hil: the top is no object")
    return document


@contextlib.contextmanager
def collector_paused() -> Iterator[None]:
    """Reading makes many objects and no garbage: the collector would look at all of them over and over for nothing."""
    running = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if running:
            gc.enable()


def _first_errors(error: ValidationError) -> str:
    found = error.errors(include_url=False, include_context=False, include_input=False)
    shown = [f"{'.'.join(str(part)[:60] for part in each['loc']) or 'top'}: {each['msg']}" for each in found[:SHOWN]]
    more = [f"and {len(found) - SHOWN} more"] if len(found) > SHOWN else []
    return "; ".join(one_line(each, LONGEST) for each in shown + more)
