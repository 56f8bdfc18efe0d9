"""What a target is to everything above it, and how one is opened by its kind."""

from __future__ import annotations

import importlib
from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import TYPE_CHECKING

from hil.errors import LabError, TargetUnreachable

if TYPE_CHECKING:
    from collections.abc import Sequence
    from types import TracebackType

    from typing_extensions import Self

    from hil.config.spec import TargetSpec
    from hil.targets.client import AgentClient

KINDS = {"local": ("hil.targets.local", "LocalTarget"), "ssh": ("hil.targets.ssh", "SshTarget")}
"""Where each kind's class lives; adding a way to reach a target is a class and a line here."""


@dataclass(frozen=True)
class Done:
    """A command that ended: its exit ``code`` (negative for a signal, as far as it is told) and what it wrote.

    ``out`` is all of it, ``err`` the last MiB.
    """

    code: int
    out: bytes
    err: bytes


class Target(ABC):
    """A machine under test, named ``name`` in ``hil.toml`` and described by ``spec``.

    A context manager that closes it.
    """

    kind = ""

    def __init__(self, name: str, spec: TargetSpec) -> None:
        """Reaches nothing yet."""
        self.name = name
        self.spec = spec

    def __enter__(self) -> Self:
        """Usable as a context manager."""
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Closes it, whatever happened inside."""
        self.close()

    @abstractmethod
    def start_agent(self) -> AgentClient:
        """Starts an agent there and waits for its greeting.

        Raises ``TargetUnreachable`` where none can be started, ``LabError`` where its store cannot be used.
        """

    @abstractmethod
    def run(self, argv: Sequence[str], stdin: bytes = b"", timeout: float = 60.0) -> Done:
        """Runs one command on the machine, no shell between, and returns what became of it.

        A program that is not there has code 127, as a shell tells it. Raises ``LabError`` where the command is
        not done after ``timeout`` seconds (it is killed then) or writes too much, ``TargetUnreachable`` where
        the machine cannot be reached.
        """

    def close(self) -> None:  # noqa: B027 - a target that holds nothing open has nothing to close
        """Lets go of the machine; agents that run there go too. May be called twice, and used again after."""

    def overdue(self, argv: Sequence[str], timeout: float) -> LabError:
        """The error of a command that was not done in time."""
        return LabError(
            f"{argv[0]} was not done after {timeout:g} s and was killed: on target {self.name!r}: "
            "see what keeps the machine busy"
        )

    def too_much(self, argv: Sequence[str], error: OverflowError) -> LabError:
        """The error of a command that wrote more than is taken."""
        return LabError(f"{argv[0]} wrote {error}: on target {self.name!r}: ask for less")


def open_target(name: str, spec: TargetSpec) -> Target:
    """The target of ``spec.kind``; reaches nothing yet. Raises ``TargetUnreachable`` for a kind not driven yet."""
    if spec.kind not in KINDS:
        driven = ", ".join(sorted(KINDS))
        raise TargetUnreachable(
            f"kind {spec.kind!r} is not driven by this version of pytest-hil: on target {name!r}: "
            f"set kind to one of {driven}, or let the run fall back"
        )
    module, attribute = KINDS[spec.kind]
    made: Target = getattr(importlib.import_module(module), attribute)(name, spec)
    return made
