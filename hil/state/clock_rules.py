"""Clocks that were to be locked, that somebody limited, or that were held back; in Hz."""

from __future__ import annotations

from itertools import pairwise
from statistics import median
from typing import TYPE_CHECKING, Any

from hil.state.state_types import Contract, Finding, State, number, numbers

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

BELOW = 0.99
"""Of a clock: what is below is another one, not a rounding."""


def _outside(text: str) -> Finding:
    return Finding("clocks", "outside", text)


def limits(states: Sequence[State], *, heated: bool) -> Iterator[Finding]:
    """Clock limits and governors that changed; a highest clock that the model's own throttling lowered is its own."""
    for one, other in pairwise(states):
        for part in sorted(set(one.clocks) | set(other.clocks)):
            if part not in other.clocks:
                yield _outside(f"clock {part} could not be read to the end, or was switched off")
            elif part not in one.clocks and part.startswith("policy"):
                yield _outside(f"clock {part} was not there at first")
            elif part in one.clocks:
                yield from _changed(part, one.clocks[part], other.clocks[part], heated=heated)


def _changed(part: str, one: Mapping[str, Any], other: Mapping[str, Any], *, heated: bool) -> Iterator[Finding]:
    for key, word in (("min", "lowest"), ("max", "highest")):
        was, now = number(one.get(key)), number(other.get(key))
        if was is None or was == now:
            continue
        if now is None:
            yield _outside(f"the {word} {part} clock could not be read to the end")
            continue
        text = f"the {word} {part} clock changed from {was / 1e6:.0f} to {now / 1e6:.0f} MHz"
        own = heated and key == "max" and now < was and part != "emc"
        yield Finding("clocks", "own" if own else "outside", text)
    if one.get("governor") and one.get("governor") != other.get("governor"):
        yield _outside(f"the {part} governor changed from {one.get('governor')} to {other.get('governor')}")


def locked(contract: Contract, states: Sequence[State]) -> Iterator[Finding]:
    """Clocks that were to be locked and were not, or that nobody can tell of."""
    if contract.clocks == "locked":
        for state in states:
            if state.locked is False:
                yield _outside("the clocks were not locked")
            elif state.locked is None:
                yield _outside(f"that the clocks were locked cannot be confirmed{state.why_not('clocks.gpu')}")
            elif state.not_readable.get("clocks.emc"):
                why = state.why_not("clocks.emc")
                yield Finding("clocks", "told", f"GPU and CPU clocks were locked, of the memory's nobody can tell{why}")


def below_lock(
    contract: Contract, before: State, windows: Sequence[Mapping[str, Any]], *, heated: bool
) -> Iterator[Finding]:
    """A locked GPU or CPU that any sample saw slower than what it was locked at; readings of 0 are one asleep."""
    if contract.clocks != "locked":
        return
    for part, known in sorted(before.clocks.items()):
        fixed = number(known.get("max"))
        if part == "emc" or not fixed or number(known.get("min")) != fixed:
            continue
        least = min((v for window in windows for v in numbers(window.get(f"clock.{part}")) if v), default=fixed)
        if least < BELOW * fixed:
            text = f"clock {part} was at {least / 1e6:.0f} MHz, though locked at {fixed / 1e6:.0f} MHz"
            yield Finding("clocks", "own" if heated else "outside", text)


def limits_within(windows: Sequence[Mapping[str, Any]], *, heated: bool) -> Iterator[Finding]:
    """Clock limits that any sample of a window has otherwise than another."""
    for window in windows:
        for name in sorted(name for name in map(str, window) if name.startswith("limit.")):
            values = numbers(window.get(name))
            if values and min(values) != max(values):
                part, key = name[len("limit.") :].rpartition(".")[::2]
                text = f"the {key} clock of {part} was {min(values) / 1e6:.0f} to {max(values) / 1e6:.0f} MHz meanwhile"
                own = heated and key == "max" and max(values) == values[0]
                yield Finding("clocks", "own" if own else "outside", text)


def held_back(before: State, windows: Sequence[Mapping[str, Any]], *, heated: bool) -> Iterator[Finding]:
    """A GPU that mostly ran below its own lowest clock; readings of 0 are a GPU that is asleep."""
    least = number(before.clocks.get("gpu", {}).get("min"))
    for window in windows:
        values = [v for v in numbers(window.get("clock.gpu")) if v]
        if least and values and median(values) < BELOW * least:
            text = f"the GPU ran at {median(values) / 1e6:.0f} MHz, below its lowest clock of {least / 1e6:.0f} MHz"
            yield Finding("clocks", "own" if heated else "outside", text)
