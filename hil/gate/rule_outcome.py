"""How a rule of the gate answers: whether it is content, what it saw, and the exit code it calls for."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from hil.errors import ExitCode

if TYPE_CHECKING:
    from collections.abc import Sequence

NAMED = 3
"""How many rows a rule names before it counts the rest."""


@dataclass(frozen=True)
class RuleOutcome:
    """What one rule of the gate saw. ``code`` is the exit code it calls for, 0 if it is content."""

    rule: str
    ok: bool
    saw: str
    code: int = 0


def outcome(rule: str, wrong: Sequence[str], good: str, code: int = ExitCode.FAILED) -> RuleOutcome:
    """The answer of a rule that found all that is ``wrong``, or something ``good`` to say."""
    if not wrong:
        return RuleOutcome(rule, ok=True, saw=good)
    return RuleOutcome(rule, ok=False, saw="; ".join(first(wrong, "more")), code=int(code))


def first(lines: Sequence[str], more: str) -> tuple[str, ...]:
    """The first few lines, and how many ``more`` there are."""
    left = len(lines) - NAMED
    return (*lines[:NAMED], *([f"and {left} {more}"] if left > 0 else []))
