"""Defines the outcome of a rule of the gate: whether the rule is met, the finding, and the exit code if not."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from hil.errors import ExitCode

if TYPE_CHECKING:
    from collections.abc import Sequence

NAMED = 3
"""The most rows that a rule names; the others are counted."""


@dataclass(frozen=True)
class RuleOutcome:
    """The outcome of one rule. ``saw`` is the finding as text; ``code`` is the exit code if ``ok`` is false, else 0."""

    rule: str
    ok: bool
    saw: str
    code: int = 0


def outcome(rule: str, wrong: Sequence[str], good: str, code: int = ExitCode.FAILED) -> RuleOutcome:
    """Return the outcome of a rule: met, with the finding ``good``, if ``wrong`` is empty; otherwise violated.

    The findings ``wrong`` state the violations, which have the exit code ``code``.
    """
    if not wrong:
        return RuleOutcome(rule, ok=True, saw=good)
    return RuleOutcome(rule, ok=False, saw="; ".join(first(wrong, "more")), code=int(code))


def first(lines: Sequence[str], more: str) -> tuple[str, ...]:
    """Return the first ``NAMED`` lines; if there are more, add ``and 4 more`` (``more`` is what follows the number)."""
    left = len(lines) - NAMED
    return (*lines[:NAMED], *([f"and {left} {more}"] if left > 0 else []))
