"""One line of what the doctor says, and how facts that came from afar are read: by type, never trusted."""

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
    """``what`` was looked at (of ``part``), what was ``found`` and whether it is fine.

    ``mend`` is what makes it so: a shell command, with what else to know behind a ``#``, or a line for ``hil.toml``;
    empty where nothing has to be done, or nothing is known.
    """

    part: str
    what: str
    found: str
    state: State = "ok"
    mend: str = ""


@dataclass(frozen=True)
class Case:
    """What is judged: a target of the config, facts of ``hil.agent.machine.survey``, its clock's lead in seconds."""

    name: str
    spec: TargetSpec
    facts: Mapping[str, Any]
    ahead: float | None = None

    def table(self, *keys: str) -> Mapping[str, Any]:
        """The table below ``keys``, empty if there is none."""
        return table(self.facts, *keys)

    def text(self, *keys: str) -> str | None:
        """A text that is not empty; else ``None``."""
        return text(self.table(*keys[:-1]).get(keys[-1]))

    def why(self, key: str) -> str:
        """Why a fact of the board could not be read, in brackets for a sentence."""
        reason = text(self.table("board", "not_readable").get(key))
        return f" ({reason})" if reason else ""

    @property
    def held(self) -> bool:
        """Whether somebody holds it, so that the GPU was not asked. What is malformed counts as held."""
        return self.facts.get("holder") is not None

    @property
    def wants_gpu(self) -> bool:
        """Whether its runtime computes on the GPU."""
        return runtime_record(self.spec.runtime).uses_gpu

    @property
    def config(self) -> str:
        """Where a line for ``hil.toml`` goes, as its comment."""
        return f"# in [targets.{self.name}]"


def table(facts: Any, *keys: str) -> Mapping[str, Any]:
    """The table below ``keys``, empty if there is none."""
    for key in keys:
        facts = facts.get(key) if isinstance(facts, Mapping) else None
    return facts if isinstance(facts, Mapping) else {}


def text(value: Any) -> str | None:
    """A text that is not empty, on one line; else ``None``."""
    return " ".join(value.split()) or None if isinstance(value, str) else None


def count(value: Any) -> int | None:
    """A whole number that is not negative; else ``None``."""
    return value if type(value) is int and value >= 0 else None
