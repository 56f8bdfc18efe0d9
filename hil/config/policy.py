"""Patterns by which a policy names rows: ``latency.p99``, ``int8.*``, ``parity.outputs digits int8``."""

from __future__ import annotations

from fnmatch import fnmatchcase
from functools import lru_cache

WILDCARDS = frozenset("*?[")
WORDS = 3  # of a pattern at most: id, model, precision


def matches(pattern: str, check_id: str, model: str, precision: str) -> bool:
    """Whether ``pattern`` (one to three words: id, model, precision) names this row; case matters."""
    words = _words(pattern)
    return bool(words) and all(map(_fits, words, (check_id, model, precision)))


@lru_cache(65_536)  # a report's rows are asked for several times
def named_by(patterns: tuple[str, ...], check_id: str, model: str, precision: str) -> bool:
    """Whether any of ``patterns`` names this row."""
    return any(matches(pattern, check_id, model, precision) for pattern in patterns)


@lru_cache(1024)
def _words(pattern: str) -> tuple[str, ...]:
    words = tuple(pattern.split())
    return words if len(words) <= WORDS else ()


@lru_cache(16_384)  # thousands of rows have few ids, models and precisions
def _fits(word: str, value: str) -> bool:
    return fnmatchcase(value, word)


def literal_id(pattern: str) -> str | None:
    """The check id that ``pattern`` names without a wildcard: it must be judged, limit or not."""
    first = (pattern.split() or [""])[0]
    return None if not first or WILDCARDS & set(first) else first
