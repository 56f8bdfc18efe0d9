"""Patterns by which a policy names rows: ``latency.p99``, ``int8.*``, ``parity.outputs digits int8``."""

from __future__ import annotations

from fnmatch import fnmatchcase

WILDCARDS = frozenset("*?[")
WORDS = 3  # of a pattern at most: id, model, precision


def matches(pattern: str, check_id: str, model: str, precision: str) -> bool:
    """Whether ``pattern`` (one to three words: id, model, precision) names this row; case matters."""
    words = pattern.split()
    if not 1 <= len(words) <= WORDS:
        return False
    return all(fnmatchcase(value, word) for value, word in zip((check_id, model, precision), words, strict=False))


def literal_id(pattern: str) -> str | None:
    """The check id that ``pattern`` names without a wildcard: it must be judged, limit or not."""
    first = (pattern.split() or [""])[0]
    return None if not first or WILDCARDS & set(first) else first
