"""Find disturbances in power mode, over-current, GPU clients, swap and load, from readings in the order of time."""

from __future__ import annotations

from itertools import pairwise
from typing import TYPE_CHECKING, Any

from hil.state.state_types import Contract, Finding, Source, State
from hil.units import show

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

SWAP = 1 << 20
"""Bytes by which swap may grow, since the kernel may swap out a few idle pages at any time."""
INVALID = ("oc1", "oc2")
"""Counters of under-voltage and average over-current, for which the power supply is insufficient.

``oc3`` rises in any burst in MAXN.
"""
COMM = 15
"""Characters that the kernel keeps of a process's name (TASK_COMM_LEN without the null byte)."""


def outside(kind: str, text: str) -> Finding:
    """Return a finding that the model did not cause."""
    return Finding(kind, "outside", text)


def power(contract: Contract, states: Sequence[State]) -> Iterator[Finding]:
    """Yield findings about power modes that are not the declared one, cannot be confirmed, or changed."""
    declared = contract.power_mode
    for state in states:
        if declared is not None and state.power_mode is None:
            why = state.why_not("power_mode")
            yield outside("power_mode", f"power mode {declared} cannot be confirmed{why}")
        elif declared is not None and state.power_mode != declared:
            yield outside("power_mode", f"the power mode was {state.power_mode}, not {declared}")
    for earlier, later in pairwise(states):
        if earlier.power_mode is not None and later.power_mode is None:
            yield outside("power_mode", f"the power mode could no longer be read{later.why_not('power_mode')}")
        elif earlier.power_mode is not None and earlier.power_mode != later.power_mode:
            yield outside("power_mode", f"the power mode changed from {earlier.power_mode} to {later.power_mode}")


def over_current(states: Sequence[State]) -> Iterator[Finding]:
    """Yield findings for over-current counters that rose or fell.

    A counter that rose is ``outside`` if it is in ``INVALID``, else ``own``. A counter that fell is ``outside``.
    """
    for name in sorted({name for state in states for name in state.over_current}):
        counts = [state.over_current[name] for state in states if name in state.over_current]
        for was, now in pairwise(counts):
            if now < was:
                yield outside("over_current", f"over-current counter {name} decreased from {was:.0f} to {now:.0f}")
        if counts[-1] > counts[0]:
            text = f"over-current counter {name} rose by {counts[-1] - counts[0]:.0f}"
            yield Finding("over_current", "outside" if name in INVALID else "own", text)


def gpu_clients(contract: Contract, states: Sequence[State]) -> Iterator[Finding]:
    """Yield findings for processes that used the GPU and are not in ``gpu_clients``, and for missing process lists.

    The findings are ``outside`` if the config declares ``gpu_clients``, otherwise ``noted``. Without declared
    ``gpu_clients``, processes without a readable name and lists that were never readable are ignored.
    """
    source: Source = "outside" if contract.clients_declared else "noted"
    for state in states:
        if state.gpu_clients is None:
            if contract.clients_declared:
                yield outside("gpu_clients", f"the GPU's clients cannot be read{state.why_not('gpu_clients')}")
            continue
        for client in state.gpu_clients:
            name, pid = client.get("name"), client.get("pid")
            if not isinstance(name, str) or not name:
                # The pid has no process here: in a container the driver lists processes of the host.
                if contract.clients_declared:
                    yield outside("gpu_clients", f"process {pid}, whose name cannot be read, used the GPU")
            elif not any(_same(allowed, name) for allowed in contract.gpu_clients):
                text = f"{name} (process {pid}) used the GPU; if it may, add {name!r} to gpu_clients"
                yield Finding("gpu_clients", source, text)
    for earlier, later in pairwise(states):
        if earlier.gpu_clients is not None and later.gpu_clients is None:
            why = later.why_not("gpu_clients")
            yield Finding("gpu_clients", source, f"the GPU's clients could no longer be read{why}")


def _same(allowed: str, name: str) -> bool:
    return name == allowed or (len(name) >= COMM and allowed.startswith(name))


def swap(states: Sequence[State]) -> Iterator[Finding]:
    """Yield a finding for each reading with over ``SWAP`` bytes more in swap than an earlier reading.

    A reading whose swap cannot be read is a finding too, if the reading before it could be read.
    """
    known = [state.swap_used for state in states]
    least: float | None = None
    for earlier, now in zip([None, *known], known, strict=False):
        if earlier is not None and now is None:
            yield outside("swap", "the swap in use could no longer be read")
        elif now is not None:
            least = now if least is None else min(least, now)
            if now - least > SWAP:
                yield outside("swap", f"swap grew by {show(now - least, 'B')}")


def load(windows: Sequence[Mapping[str, Any]]) -> Iterator[Finding]:
    """Yield a finding for each co-runner or memory reservation that ended early."""
    for window in windows:
        readings = window.get("state")
        after = readings.get("after") if isinstance(readings, dict) else None
        ended = after.get("load_ended") if isinstance(after, dict) else None
        if isinstance(ended, (list, tuple)):
            yield from (outside("load", str(text)) for text in ended)
