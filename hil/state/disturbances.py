"""What the other disturbances are, each a function of the readings in order; ``opened`` is the session's first one."""

from __future__ import annotations

from itertools import pairwise
from typing import TYPE_CHECKING, Any

from hil.state.state_types import Contract, Finding, Source, State
from hil.units import show

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

SWAP = 1 << 20
"""Bytes by which swap may grow: the kernel moves a few idle pages whenever it likes."""
INVALID = ("oc1", "oc2")
"""Under-voltage and average over-current: the supply failed the board. ``oc3`` rises under bursts in MAXN as such."""
COMM = 15
"""Letters that the kernel keeps of a process's name (TASK_COMM_LEN less its end)."""


def outside(kind: str, text: str) -> Finding:
    """A finding that the model has no part in."""
    return Finding(kind, "outside", text)


def power(contract: Contract, states: Sequence[State]) -> Iterator[Finding]:
    """Another mode than the declared one, one that changed, one that nobody can confirm."""
    wanted = contract.power_mode
    for state in states:
        if wanted is not None and state.power_mode is None:
            why = state.why_not("power_mode")
            yield outside("power_mode", f"power mode {wanted} cannot be confirmed{why}")
        elif wanted is not None and state.power_mode != wanted:
            yield outside("power_mode", f"the power mode was {state.power_mode}, not {wanted}")
    for one, other in pairwise(states):
        if one.power_mode is not None and other.power_mode is None:
            yield outside("power_mode", f"the power mode could not be read to the end{other.why_not('power_mode')}")
        elif one.power_mode is not None and one.power_mode != other.power_mode:
            yield outside("power_mode", f"the power mode changed from {one.power_mode} to {other.power_mode}")


def over_current(states: Sequence[State]) -> Iterator[Finding]:
    """Events counted meanwhile: of the supply they void the run, of instantaneous current they are the model's own."""
    for name in sorted({name for state in states for name in state.over_current}):
        counts = [state.over_current[name] for state in states if name in state.over_current]
        for was, now in pairwise(counts):
            if now < was:
                yield outside("over_current", f"over-current counter {name} went back from {was:.0f} to {now:.0f}")
        if counts[-1] > counts[0]:
            text = f"over-current counter {name} rose by {counts[-1] - counts[0]:.0f}"
            yield Finding("over_current", "outside" if name in INVALID else "own", text)


def gpu_clients(contract: Contract, states: Sequence[State]) -> Iterator[Finding]:
    """Processes on the GPU that are neither ours nor allowed; no list where the config says who may be on it.

    Where the config does not say it, they are told and not judged: a desktop's own are always there.
    """
    source: Source = "outside" if contract.clients_declared else "told"
    for state in states:
        if state.gpu_clients is None:
            if contract.clients_declared:
                yield outside("gpu_clients", f"who else uses the GPU cannot be read{state.why_not('gpu_clients')}")
            continue
        for client in state.gpu_clients:
            name, pid = client.get("name"), client.get("pid")
            if not isinstance(name, str) or not name:
                # Listed by a number that means nothing there: a container's driver tells all of the host's.
                if contract.clients_declared:
                    yield outside("gpu_clients", f"process {pid}, whose name cannot be read, used the GPU")
            elif not any(_same(allowed, name) for allowed in contract.gpu_clients):
                text = f"{name} (process {pid}) used the GPU; if it may, add {name!r} to gpu_clients"
                yield Finding("gpu_clients", source, text)
    for one, other in pairwise(states):
        if one.gpu_clients is not None and other.gpu_clients is None:
            why = other.why_not("gpu_clients")
            yield Finding("gpu_clients", source, f"who else uses the GPU could not be read to the end{why}")


def _same(allowed: str, name: str) -> bool:
    return name == allowed or (len(name) >= COMM and allowed.startswith(name))


def swap(states: Sequence[State]) -> Iterator[Finding]:
    """Memory that went to swap meanwhile."""
    known = [state.swap_used for state in states]
    least: float | None = None
    for one, now in zip([None, *known], known, strict=False):
        if one is not None and now is None:
            yield outside("swap", "the swap in use could not be read to the end")
        elif now is not None:
            least = now if least is None else min(least, now)
            if now - least > SWAP:
                yield outside("swap", f"swap grew by {show(now - least, 'B')}")


def load(windows: Sequence[Mapping[str, Any]]) -> Iterator[Finding]:
    """A co-runner or a reserve that ended before its time: the board was less loaded than asked for."""
    for window in windows:
        told = window.get("state")
        after = told.get("after") if isinstance(told, dict) else None
        ended = after.get("load_ended") if isinstance(after, dict) else None
        if isinstance(ended, (list, tuple)):
            yield from (outside("load", str(one)) for one in ended)
