"""What a target is to everything above it, and how one is opened by its kind."""

from __future__ import annotations

import importlib
from abc import ABC, abstractmethod
from typing import TYPE_CHECKING

from hil.errors import TargetUnreachable

if TYPE_CHECKING:
    from hil.config.spec import TargetSpec
    from hil.targets.client import AgentClient

KINDS = {"local": ("hil.targets.local", "LocalTarget")}
"""Where each kind's class lives; adding a way to reach a target is a class and a line here."""


class Target(ABC):
    """A machine under test, named ``name`` in ``hil.toml`` and described by ``spec``."""

    kind = ""

    def __init__(self, name: str, spec: TargetSpec) -> None:
        """Reaches nothing yet."""
        self.name = name
        self.spec = spec

    @abstractmethod
    def start_agent(self) -> AgentClient:
        """Starts an agent there and waits for its greeting.

        Raises ``TargetUnreachable`` where none can be started, ``LabError`` where its store cannot be used.
        """


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
