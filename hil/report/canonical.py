"""What of a report is hashed, and how anything a check hands over becomes plain JSON."""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Mapping
from enum import Enum
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from hil.report.schema import Report

MAX_DEPTH = 64


def plain(value: Any, depth: int = 0) -> Any:
    """``value`` as JSON types; NaN and infinities become the strings ``"nan"``, ``"inf"``, ``"-inf"``.

    numpy scalars and arrays become numbers and lists, anything unknown its ``str``. A details table may
    hold what no JSON can: better told as text than lost with the report.
    """
    if isinstance(value, Enum):
        return plain(value.value, depth)
    if value is None or isinstance(value, (bool, int, float, str)):
        return _scalar(value)
    if depth >= MAX_DEPTH:
        return "…"
    if isinstance(value, Mapping):
        return {str(plain(str(key))): plain(item, depth + 1) for key, item in value.items()}
    if isinstance(value, (list, tuple, set, frozenset)):
        items = sorted(value, key=str) if isinstance(value, (set, frozenset)) else value
        return [plain(item, depth + 1) for item in items]
    return plain(value.tolist() if hasattr(value, "tolist") else str(value), depth + 1)


def _scalar(value: object) -> object:
    if isinstance(value, float):
        return float(value) if math.isfinite(value) else str(float(value))
    # A name with bytes that are no UTF-8 (a file's, a kernel's) must not make the report unwritable.
    return value.encode("utf-8", "replace").decode("utf-8") if isinstance(value, str) else value


def canonical(document: Mapping[str, Any]) -> bytes:
    """Canonical JSON: sorted keys, no spaces, ASCII only, shortest round-trip numbers; no NaN."""
    return json.dumps(document, sort_keys=True, separators=(",", ":"), allow_nan=False).encode("ascii")


def report_digest(document: Mapping[str, Any]) -> str:
    """SHA-256 of a parsed ``report.json`` without its ``digest``."""
    return hashlib.sha256(canonical({key: value for key, value in document.items() if key != "digest"})).hexdigest()


def as_document(report: Report) -> dict[str, Any]:
    """The report as plain JSON types, as it is stored."""
    document: dict[str, Any] = plain(report.model_dump(mode="python"))
    return document
