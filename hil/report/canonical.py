"""Make the canonical JSON and the digest of a report, and convert a check's values to plain JSON types."""

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
SCALARS = frozenset({int, float, bool, str, type(None)})
"""The most frequent types of values; ``plain`` handles them without further tests."""


def plain(value: Any, depth: int = 0) -> Any:
    """Return ``value`` as JSON types.

    NaN and infinities become the strings ``"nan"``, ``"inf"``, ``"-inf"``.

    numpy values become numbers and lists, sets become sorted lists, and other types their ``str``. Values nested deeper
    than ``MAX_DEPTH`` become ``…``; ``depth`` is the level of ``value``. Raises only what a value's own methods raise.
    """
    is_scalar = type(value) in SCALARS
    if not is_scalar and isinstance(value, Enum):
        value = value.value
    if is_scalar or value is None or isinstance(value, (int, float, str)):
        return _scalar(value)
    if depth >= MAX_DEPTH:
        return "…"
    if isinstance(value, (dict, Mapping)):
        return {str(plain(str(key))): plain(item, depth + 1) for key, item in value.items()}
    if isinstance(value, (list, tuple, set, frozenset)):
        items = sorted(value, key=str) if isinstance(value, (set, frozenset)) else value
        return [plain(item, depth + 1) for item in items]
    return plain(value.tolist() if hasattr(value, "tolist") else str(value), depth + 1)


def _scalar(value: object) -> object:
    if isinstance(value, float):
        return float(value) if math.isfinite(value) else str(float(value))
    # File and kernel names can hold bytes that are not valid UTF-8. The report must still be writable.
    return value.encode("utf-8", "replace").decode("utf-8") if isinstance(value, str) else value


def canonical(document: Mapping[str, Any]) -> bytes:
    """Return ``document`` as canonical JSON: sorted keys, no spaces, ASCII, shortest round-trip numbers.

    Raises ``ValueError`` for NaN and infinities.
    """
    return json.dumps(document, sort_keys=True, separators=(",", ":"), allow_nan=False).encode("ascii")


def report_digest(document: Mapping[str, Any]) -> str:
    """Return the SHA-256 (hex) of the canonical JSON of a parsed ``report.json`` without its ``digest`` field."""
    return hashlib.sha256(canonical({key: value for key, value in document.items() if key != "digest"})).hexdigest()


def as_document(report: Report) -> dict[str, Any]:
    """Return the report as plain JSON types, as ``report.json`` stores it."""
    document: dict[str, Any] = plain(report.model_dump(mode="python"))
    return document
