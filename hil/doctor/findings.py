"""Define a finding of ``hil doctor``, and read facts from a target, whose types are checked before use."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

from hil.runtimes import runtime_record

if TYPE_CHECKING:
    from hil.config.spec import TargetSpec

State = Literal["ok", "warn", "bad", "unknown"]
STATES: tuple[State, ...] = ("bad", "warn", "unknown", "ok")


@dataclass(frozen=True)
class Finding:
    """One line that ``hil doctor`` shows: ``what`` was examined (in group ``part``), the ``result`` and its ``state``.

    ``fix`` is a shell command or a line for ``hil.toml``, which may end with a comment after ``#``, or advice as text;
    empty if there is nothing to fix or no fix is known.
    """

    part: str
    what: str
    result: str
    state: State = "ok"
    fix: str = ""

    def as_dict(self) -> dict[str, str]:
        """Return the finding for ``hil doctor --json``, where ``result`` is called ``found`` and ``fix`` ``mend``."""
        return {"part": self.part, "what": self.what, "found": self.result, "state": self.state, "mend": self.fix}


@dataclass(frozen=True)
class Case:
    """A target's name, its config ``spec`` and its facts (from ``hil.agent.machine.survey``).

    ``ahead`` is how many seconds its clock is ahead of this machine's; ``None`` if unknown.
    """

    name: str
    spec: TargetSpec
    facts: Mapping[str, Any]
    ahead: float | None = None

    def table(self, *keys: str) -> Mapping[str, Any]:
        """Return the table at the path ``keys`` in the facts; empty if there is no table."""
        return table(self.facts, *keys)

    def text(self, *keys: str) -> str | None:
        """Return the text at the path ``keys`` in the facts; ``None`` if there is no text or it is empty."""
        return text(self.table(*keys[:-1]).get(keys[-1]))

    def why(self, key: str) -> str:
        """Return why a fact of the board could not be read, in parentheses after a space; empty if unknown."""
        reason = text(self.table("board", "not_readable").get(key))
        return f" ({reason})" if reason else ""

    @property
    def held(self) -> bool:
        """Whether somebody holds the target, so that its GPU was not queried. A malformed holder counts as a holder."""
        return self.facts.get("holder") is not None

    @property
    def wants_gpu(self) -> bool:
        """Whether the target's runtime computes on a GPU."""
        return runtime_record(self.spec.runtime).uses_gpu

    @property
    def config(self) -> str:
        """The comment for a line that fixes a finding: in which table of ``hil.toml`` the line belongs."""
        return f"# in [targets.{self.name}]"


def table(facts: Any, *keys: str) -> Mapping[str, Any]:
    """Return the table at the path ``keys`` in ``facts``; empty if there is no table."""
    for key in keys:
        facts = facts.get(key) if isinstance(facts, Mapping) else None
    return facts if isinstance(facts, Mapping) else {}


def text(value: Any) -> str | None:
    """Return ``value`` on one line if it is a string that is not empty, else ``None``."""
    return " ".join(value.split()) or None if isinstance(value, str) else None


def count(value: Any) -> int | None:
    """Return ``value`` if it is a non-negative ``int``, else ``None``."""
    return value if type(value) is int and value >= 0 else None
