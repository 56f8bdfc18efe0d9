"""Parses strict JSON, which all parsers read alike: without duplicate keys, NaN, and infinite or too large floats."""

from __future__ import annotations

import json
import math
from typing import Any

SHOWN = 40


def loads(content: bytes) -> Any:
    """Return the JSON value in ``content``.

    Raise ``UnicodeDecodeError`` if ``content`` is not UTF-8, ``json.JSONDecodeError`` if it is not JSON,
    ``RecursionError`` if it is nested too deeply, and ``ValueError`` for a duplicate key, NaN, infinity, and a number
    with a fraction or an exponent that is too large for float64.
    """
    return json.loads(
        content.decode("utf-8"),
        object_pairs_hook=_unique,
        parse_constant=_constant,
        parse_float=_finite,
        parse_int=_whole,
    )


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    table = dict(pairs)
    if len(table) != len(pairs):
        # Parsers differ in which of two values they use, so the verdict would depend on the parser.
        raise ValueError("a key occurs twice in one object")
    return table


def _constant(text: str) -> float:
    raise ValueError(f"{text} is not JSON")


def _whole(text: str) -> int:
    _finite(text)
    return int(text)


def _finite(text: str) -> float:
    value = float(text)
    if not math.isfinite(value):
        raise ValueError(f"{text[:SHOWN]} is out of range")
    return value
