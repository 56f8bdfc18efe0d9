"""JSON read so that two readers cannot understand it differently: no key twice, no NaN, no infinity, nothing over."""

from __future__ import annotations

import json
import math
from typing import Any

SHOWN = 40


def loads(content: bytes) -> Any:
    """The JSON value in these bytes.

    Raises ``UnicodeDecodeError`` for what is no UTF-8, ``json.JSONDecodeError`` for what is no JSON, ``RecursionError``
    for what is nested too deeply, and ``ValueError`` for a key that stands twice and for numbers that JSON has not.
    """
    return json.loads(content.decode("utf-8"), object_pairs_hook=_unique, parse_constant=_constant, parse_float=_finite)


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    table = dict(pairs)
    if len(table) != len(pairs):
        # Two readers may take different ones of two values: what was judged would depend on who reads.
        raise ValueError("a key stands twice in one object")
    return table


def _constant(text: str) -> float:
    raise ValueError(f"{text} is not JSON")


def _finite(text: str) -> float:
    value = float(text)
    if not math.isfinite(value):
        raise ValueError(f"{text[:SHOWN]} is out of range")
    return value
