"""Getting hold of a target, or of the CPU in its place, and what that makes the evidence worth."""

from __future__ import annotations

import getpass
import os
from dataclasses import dataclass
from typing import TYPE_CHECKING

from hil.errors import LabError, TargetUnreachable, UserError
from hil.model import Evidence
from hil.targets.base import open_target

if TYPE_CHECKING:
    from hil.config.spec import TargetSpec
    from hil.session.request import Request
    from hil.targets.client import AgentClient

FALLBACK = "cpu"
NOT_CARRIED_OUT = ("board", "serial", "power_mode", "stop_services", "reserve_memory", "co_runner")
"""Keys of a target that only a board's own facts and services can answer."""


@dataclass(frozen=True)
class Held:
    """A target in our hands. ``agent`` is ``None`` where the run skips for want of its target."""

    used: str
    spec: TargetSpec
    agent: AgentClient | None
    evidence: Evidence
    fallback_reason: str | None


def hold(request: Request) -> Held:
    """Starts the agent and holds the target for the whole session.

    Raises ``LabError`` if the target cannot be had and no fallback is wanted, ``TargetHeld`` if
    somebody else has it: that is never answered by a fallback.
    """
    spec = request.config.target(request.target)
    try:
        agent = _agent(request, request.target, spec)
    except TargetUnreachable as error:
        if request.fallback == "fail":
            raise LabError(str(error)) from None
        return _instead(request, str(error))
    return Held(request.target, spec, agent, _evidence(spec), None)


def _agent(request: Request, name: str, spec: TargetSpec) -> AgentClient:
    target = open_target(name, spec)
    _check_carried_out(name, spec)
    agent = target.start_agent()
    try:
        agent.hold(request.run_id, f"{getpass.getuser()} (pid {os.getpid()})", request.wait)
    except BaseException:
        agent.close()
        raise
    return agent


def _check_carried_out(name: str, spec: TargetSpec) -> None:
    """Refuses what the config asks of a target and nothing here sees to: read and ignored, it would pass for done."""
    asked = [key for key in NOT_CARRIED_OUT if getattr(spec, key)]
    if spec.clocks != "as-deployed":
        asked.append("clocks")
    if asked:
        what = f"{', '.join(asked)} cannot be seen to on a target of kind {spec.kind!r} by this version"
        raise UserError(f"{what}: on target {name!r}: take it out of [targets.{name}]")


def _instead(request: Request, reason: str) -> Held:
    if request.fallback == "skip":
        return Held(FALLBACK, request.config.target(FALLBACK), None, Evidence.CPU_FALLBACK, reason)
    spec = request.config.target(FALLBACK)
    request.progress(f"{reason}: falling back to the CPU, which never counts as {request.target}")
    return Held(FALLBACK, spec, _agent(request, FALLBACK, spec), Evidence.CPU_FALLBACK, reason)


def _evidence(spec: TargetSpec) -> Evidence:
    # Evidence "device" needs a probe that confirmed the declared board; the local CPU is just the host.
    return Evidence.EMULATED if spec.evidence == "emulated" else Evidence.HOST
