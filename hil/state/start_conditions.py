"""Rules about the board's state when timing begins, judged on the last reading before it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from hil.state.state_types import Contract, Finding, State
from hil.units import show

if TYPE_CHECKING:
    from collections.abc import Iterator


def start_conditions(contract: Contract, before: State) -> Iterator[Finding]:
    """Yield a finding if the hottest sensor is not below ``start_below``, and one if less than ``free_memory`` is free.

    A value that cannot be read is a finding too. Conditions that the contract does not have are not checked. Memory
    that this run reserved counts as free.
    """
    limit, least = contract.start_below, contract.free_memory
    hottest = before.hottest()
    if limit is not None and hottest is None:
        why = before.why_not("temperature")
        yield Finding("temperature", "outside", f"it cannot be confirmed that timing began under {limit:g} °C{why}")
    elif limit is not None and hottest is not None and hottest[1] >= limit:
        text = f"{hottest[0]} was at {hottest[1]:.1f} °C when timing began, not under {limit:g} °C"
        yield Finding("temperature", "outside", text)
    free = before.memory_available
    if least is not None and free is None:
        why = before.why_not("memory_available")
        yield Finding("memory", "outside", f"it cannot be confirmed that {show(least, 'B')} were free{why}")
    elif least is not None and free is not None and free + contract.reserve_memory < least:
        text = f"{show(free + contract.reserve_memory, 'B')} were free when timing began, not {show(least, 'B')}"
        yield Finding("memory", "outside", text)
