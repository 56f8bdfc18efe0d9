"""Defines the interface of a target, and the table of its implementations by kind."""

from __future__ import annotations

import importlib
from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import TYPE_CHECKING

from hil.config.pools import MANY
from hil.errors import LabError, UserError

if TYPE_CHECKING:
    from collections.abc import Sequence
    from types import TracebackType

    from typing_extensions import Self

    from hil.config.spec import TargetSpec
    from hil.targets.client import AgentClient

KINDS = {"local": ("hil.targets.local", "LocalTarget"), "ssh": ("hil.targets.ssh", "SshTarget")}
"""Module and class of each kind. A new kind needs a class and a line here."""


@dataclass(frozen=True)
class Done:
    """A command that ended: its exit ``code`` (negative if killed by a signal), stdout and the last MiB of stderr."""

    code: int
    out: bytes
    err: bytes


class Target(ABC):
    """A machine under test, called ``name`` in ``hil.toml`` and described by ``spec``. A context manager."""

    kind = ""

    def __init__(self, name: str, spec: TargetSpec) -> None:
        """Connect to nothing yet."""
        self.name = name
        self.spec = spec

    def __enter__(self) -> Self:
        """Return this target."""
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Close the target, also after an error."""
        self.close()

    @abstractmethod
    def start_agent(self) -> AgentClient:
        """Start an agent on the machine and wait for its greeting.

        Raises ``TargetUnreachable`` if no agent can be started, ``LabError`` if its store is unusable.
        """

    @abstractmethod
    def run(self, argv: Sequence[str], stdin: bytes = b"", timeout: float = 60.0) -> Done:
        """Run one command on the machine, without a shell, and return its exit code and output.

        The code of a missing program is 127. Raises ``LabError`` if the command is killed after ``timeout`` seconds or
        writes too much, ``TargetUnreachable`` if the machine cannot be reached.
        """

    def close(self) -> None:  # noqa: B027 - a target that holds nothing open has nothing to close
        """Close the connection to the machine, if there is one; this ends its agents.

        May be called twice. The next method that needs the machine connects again.
        """

    def overdue(self, argv: Sequence[str], timeout: float) -> LabError:
        """Return the error of a command that exceeded its time limit."""
        return LabError(
            f"{argv[0]} did not end within {timeout:g} s and was killed: on target {self.name!r}: "
            "check what keeps the machine busy"
        )

    def too_much(self, argv: Sequence[str], error: OverflowError) -> LabError:
        """Return the error of a command that wrote more than the limit."""
        return LabError(f"{argv[0]} wrote {error}: on target {self.name!r}: make it write less")


def open_target(name: str, spec: TargetSpec) -> Target:
    """Return a target of ``spec.kind`` without connecting. Raises ``UserError`` if the target is several boards."""
    if spec.kind in MANY:
        names = f"name one of its members: {', '.join(spec.members)}" if spec.members else "name a target of kind 'ssh'"
        raise UserError(f"kind {spec.kind!r} is several boards, but one is needed here: on target {name!r}: {names}")
    module, attribute = KINDS[spec.kind]
    target: Target = getattr(importlib.import_module(module), attribute)(name, spec)
    return target
