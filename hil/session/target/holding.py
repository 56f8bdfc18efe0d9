"""Hold a target, or the CPU as its fallback, and derive the strongest evidence that its rows may have."""

from __future__ import annotations

import getpass
import os
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

from hil.errors import LabError, TargetUnreachable, UserError
from hil.jetson import module_of
from hil.results import Evidence
from hil.runtimes import RUNTIMES
from hil.session.steps import as_progress
from hil.session.target.board_match import Board, confirm
from hil.session.target.contract_method import co_runner_command
from hil.targets.target import open_target

if TYPE_CHECKING:
    from hil.config.spec import TargetSpec
    from hil.pools.pool_board import PoolBoard
    from hil.session.request import Request
    from hil.targets.client import AgentClient

FALLBACK = "cpu"


@dataclass(frozen=True)
class HeldTarget:
    """A target held for a run.

    Attributes:
        used: the name of the held target: the requested one, or ``cpu`` in a fallback.
        spec: the config of the held target.
        agent: the agent on it; ``None`` if the target is unavailable and the run skips its rows.
        evidence: the strongest evidence that a row may have.
        fallback_reason: why the requested target is unavailable; ``None`` if it is held.
        board: the confirmed board, or ``None``.
        facts: what the probe read.
        member: the name of the board, if the requested target is several boards; else empty.
    """

    used: str
    spec: TargetSpec
    agent: AgentClient | None
    evidence: Evidence
    fallback_reason: str | None
    board: Board | None = None
    facts: dict[str, Any] = field(default_factory=dict)
    member: str = ""


def hold(request: Request) -> HeldTarget:
    """Start the agent on the target and hold the target for the whole session.

    If the target is unavailable, the request's ``fallback`` decides: hold the CPU, hold nothing, or raise ``LabError``.
    Raise ``LabError`` if the target is not the declared board, and ``TargetHeld`` if another run still holds it after
    ``request.wait`` seconds. If ``request.board`` names one board of several, there is no fallback. Raise ``UserError``
    if the config has keys that the target's runtime ignores, or an invalid co-runner command.
    """
    if request.board is not None:
        return _hold_member(request, request.board)
    unreachable = request.unreachable
    if not unreachable:
        try:
            return _hold(request, request.target, request.config.target(request.target), request.run_id)
        except TargetUnreachable as error:
            unreachable = str(error)
    if request.fallback == "fail":
        raise LabError(unreachable)
    return _fall_back(request, unreachable)


def _hold_member(request: Request, board: PoolBoard) -> HeldTarget:
    """Hold one board of a target that consists of several."""
    try:
        held = _hold(request, board.name, board.spec(request.config, request.target), board.token)
    except TargetUnreachable as error:
        raise LabError(str(error)) from None
    return replace(held, used=request.target, member=board.name)


def _hold(request: Request, name: str, spec: TargetSpec, token: str) -> HeldTarget:
    target = open_target(name, spec)
    _check_ignored_keys(name, spec)
    progress = as_progress(request.progress)
    with progress.step(f"{name}: starting the agent", said=False):
        agent = target.start_agent()
    try:
        with progress.step(f"{name}: waiting until nobody else holds it", seconds=request.wait or None, said=False):
            agent.hold(token, f"{getpass.getuser()} (pid {os.getpid()})", request.wait)
        # Only once the target is held: the probe opens the GPU, on which the previous holder may still be timing.
        with progress.step(f"{name}: reading its state", said=False):
            facts = agent.probe()
        board = confirm(name, spec, facts)
    except BaseException:
        agent.close()
        raise
    return HeldTarget(name, spec, agent, _evidence(spec, board), None, board, facts)


def _check_ignored_keys(name: str, spec: TargetSpec) -> None:
    """Raise ``UserError`` for keys that the target's runtime ignores, and for an invalid co-runner command."""
    co_runner_command(name, spec)
    for runtime, record in RUNTIMES.items():
        others = [key for key in record.target_keys if key in spec.model_fields_set] if runtime != spec.runtime else []
        if module_of(spec.board or "") is not None:  # its device tree identifies it, under any runtime
            others = [key for key in others if key != "board"]
        if others:
            what = f"which only runtime {runtime!r} supports, not {spec.runtime!r}"
            raise UserError(f"[targets.{name}] has {', '.join(others)}, {what}: remove it, or change the runtime")


def _fall_back(request: Request, reason: str) -> HeldTarget:
    if request.fallback == "skip":
        return HeldTarget(FALLBACK, request.config.target(FALLBACK), None, Evidence.CPU_FALLBACK, reason)
    request.progress(f"{reason}: falling back to the CPU, which never counts as {request.target}")
    held = _hold(request, FALLBACK, request.config.target(FALLBACK), request.run_id)
    # Whatever the config declares for "cpu", it is not the requested target.
    return replace(held, evidence=Evidence.CPU_FALLBACK, fallback_reason=reason, board=None)


def _evidence(spec: TargetSpec, board: Board | None) -> Evidence:
    # A target that is declared as emulated stays so, whatever its GPU.
    if spec.evidence == "emulated":
        return Evidence.EMULATED
    # A machine without a confirmed board is a host. So is a confirmed Jetson whose runtime uses only its CPU.
    return Evidence.HOST if board is None or board.gpu is None else Evidence.DEVICE
