"""Starts the command that runs an agent, with pipes on its three standard streams."""

from __future__ import annotations

from typing import TYPE_CHECKING

from hil.targets.client import AgentClient
from hil.targets.link import GREETING_PATIENCE, SILENCE, Link
from hil.targets.process import LocalProcess, spawn

if TYPE_CHECKING:
    from collections.abc import Sequence

    from hil.config.spec import TargetSpec


def agent_arguments(spec: TargetSpec) -> list[str]:
    """Return the agent's command line arguments for a target with ``spec``, except ``--store`` and its path."""
    size = ["--store-size", repr(float(spec.store_size))]
    if spec.container is not None:
        size += ["--container", spec.container.model_dump_json()]
    # Pipes close when the host dies. A network connection may stay open, and the agent would keep holding the board.
    return size if spec.kind == "local" else [*size, "--host-silence", repr(float(spec.silence))]


def start(command: Sequence[str], target: str, digest: str, silence: float = SILENCE) -> AgentClient:
    """Start ``command``, which runs the agent's archive with this digest, and wait for the agent's greeting.

    An agent that sends nothing for ``silence`` seconds counts as lost. Raises ``TargetUnreachable`` if no agent
    answers, ``LabError`` if its store is unusable.
    """
    process = LocalProcess(spawn(command, target), GREETING_PATIENCE)
    return AgentClient(Link(process, target, silence), digest)
