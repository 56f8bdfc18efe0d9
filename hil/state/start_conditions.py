"""What the contract asks of a board before anything is timed, judged on the first reading right before it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from hil.state.state_types import Contract, Finding, State
from hil.units import show

if TYPE_CHECKING:
    from collections.abc import Iterator


def met(contract: Contract, before: State) -> Iterator[Finding]:
    """A board hotter than ``start_below``, or with less memory than ``free_memory`` beside what was reserved."""
    limit, least = contract.start_below, contract.free_memory
    hottest = before.hottest()
    if limit is not None and hottest is None:
        why = before.why_not("temperature")
        yield Finding("temperature", "outside", f"that it began under {limit:g} °C cannot be confirmed{why}")
    elif limit is not None and hottest is not None and hottest[1] >= limit:
        text = f"{hottest[0]} was at {hottest[1]:.1f} °C when timing began, not under {limit:g} °C"
        yield Finding("temperature", "outside", text)
    free = before.memory_available
    if least is not None and free is None:
        why = before.why_not("memory_available")
        yield Finding("memory", "outside", f"that {show(least, 'B')} were free cannot be confirmed{why}")
    elif least is not None and free is not None and free + contract.reserve_memory < least:
        text = f"{show(free + contract.reserve_memory, 'B')} were free when timing began, not {show(least, 'B')}"
        yield Finding("memory", "outside", text)
