"""A command whose three standard streams reach an agent: that is all a way to a target has to give."""

from __future__ import annotations

from typing import TYPE_CHECKING

from hil.targets.client import AgentClient
from hil.targets.link import GREETING_PATIENCE, SILENCE, Link
from hil.targets.process import LocalProcess, spawn

if TYPE_CHECKING:
    from collections.abc import Sequence

    from hil.config.spec import TargetSpec


def agent_arguments(spec: TargetSpec) -> list[str]:
    """What every agent is started with beside its store, wherever it runs."""
    size = ["--store-size", repr(float(spec.store_size))]
    if spec.container is not None:
        size += ["--container", spec.container.model_dump_json()]
    # Pipes tell of the host's death; a network may not, and then a dead host would hold the board.
    return size if spec.kind == "local" else [*size, "--host-silence", repr(float(spec.silence))]


def start(command: Sequence[str], target: str, digest: str, silence: float = SILENCE) -> AgentClient:
    """Starts ``command``, which runs the agent archive with this digest, and waits for its greeting.

    The command gets a process group of its own. An agent that says nothing for ``silence`` seconds is lost.
    Raises ``TargetUnreachable`` where no agent answers, ``LabError`` where its store cannot be used.
    """
    process = LocalProcess(spawn(command, target), GREETING_PATIENCE)
    return AgentClient(Link(process, target, silence), digest)
