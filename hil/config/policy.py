"""Match the patterns with which a policy selects rows: ``latency.p99``, ``int8.*``, ``parity.outputs digits int8``."""

from __future__ import annotations

from fnmatch import fnmatchcase
from functools import lru_cache

WILDCARDS = frozenset("*?[")
WORDS = 3  # the maximum in a pattern: id, model, precision


def matches(pattern: str, check_id: str, model: str, precision: str) -> bool:
    """Return whether ``pattern`` matches the row of this id, model and precision.

    A pattern is ``id``, ``id model`` or ``id model precision``, with shell wildcards, and case-sensitive. A part that
    is left out matches anything. A pattern of any other form matches nothing.
    """
    words = _words(pattern)
    return bool(words) and all(map(_fits, words, (check_id, model, precision)))


@lru_cache(65_536)  # each row of a report is looked up several times
def named_by(patterns: tuple[str, ...], check_id: str, model: str, precision: str) -> bool:
    """Return whether any of ``patterns`` matches this row."""
    return any(matches(pattern, check_id, model, precision) for pattern in patterns)


@lru_cache(1024)
def _words(pattern: str) -> tuple[str, ...]:
    words = tuple(pattern.split())
    return words if len(words) <= WORDS else ()


@lru_cache(16_384)  # thousands of rows share few ids, models and precisions
def _fits(word: str, value: str) -> bool:
    return fnmatchcase(value, word)


def literal_id(pattern: str) -> str | None:
    """Return the check id in ``pattern``; ``None`` if the id contains a wildcard or ``pattern`` is empty."""
    first = (pattern.split() or [""])[0]
    return None if not first or WILDCARDS & set(first) else first
