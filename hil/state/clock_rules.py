"""Find clocks that are not locked as declared, whose limits changed, or that are too low. Clocks are in Hz."""

from __future__ import annotations

from itertools import pairwise
from statistics import median
from typing import TYPE_CHECKING, Any

from hil.state.state_types import Contract, Finding, State, number, numbers

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

BELOW = 0.99
"""A reading below this share of a clock is really lower, not only rounded."""


def _outside(text: str) -> Finding:
    return Finding("clocks", "outside", text)


def limits(states: Sequence[State], *, heated: bool) -> Iterator[Finding]:
    """Yield a finding for each clock limit or governor that changed between two readings, or became unreadable.

    A CPU clock that only a later reading has is a finding too. With ``heated`` (the model's own heat made the board
    throttle), a reduced upper limit is ``own``, except the memory clock's. All other findings are ``outside``.
    """
    for earlier, later in pairwise(states):
        for part in sorted(set(earlier.clocks) | set(later.clocks)):
            if part not in later.clocks:
                yield _outside(f"clock {part} could no longer be read, or was switched off")
            elif part not in earlier.clocks and part.startswith("policy"):
                yield _outside(f"clock {part} could not be read at first, or was switched on later")
            elif part in earlier.clocks:
                yield from _changed(part, earlier.clocks[part], later.clocks[part], heated=heated)


def _changed(part: str, earlier: Mapping[str, Any], later: Mapping[str, Any], *, heated: bool) -> Iterator[Finding]:
    for key, word in (("min", "lowest"), ("max", "highest")):
        was, now = number(earlier.get(key)), number(later.get(key))
        if was is None or was == now:
            continue
        if now is None:
            yield _outside(f"the {word} {part} clock could no longer be read")
            continue
        text = f"the {word} {part} clock changed from {was / 1e6:.0f} to {now / 1e6:.0f} MHz"
        own = heated and key == "max" and now < was and part != "emc"
        yield Finding("clocks", "own" if own else "outside", text)
    governor, governor_now = earlier.get("governor"), later.get("governor")
    if governor and not governor_now:
        yield _outside(f"the {part} governor could no longer be read")
    elif governor and governor != governor_now:
        yield _outside(f"the {part} governor changed from {governor} to {governor_now}")


def locked(contract: Contract, states: Sequence[State]) -> Iterator[Finding]:
    """If the contract requires locked clocks, yield a finding for each reading that does not confirm the lock.

    The finding is ``outside``. It is ``noted`` (only reported) if just the memory's clock is unknown.
    """
    if contract.clocks == "locked":
        for state in states:
            if state.locked is False:
                yield _outside("the clocks were not locked")
            elif state.locked is None:
                yield _outside(f"it cannot be confirmed that the clocks were locked{state.why_not('clocks.gpu')}")
            elif state.not_readable.get("clocks.emc"):
                why = state.why_not("clocks.emc")
                yield Finding("clocks", "noted", f"GPU and CPU clocks were locked; the memory clock is unreadable{why}")


def below_lock(
    contract: Contract, before: State, windows: Sequence[Mapping[str, Any]], *, heated: bool
) -> Iterator[Finding]:
    """Yield a finding for each GPU or CPU clock that was locked and has a sample below the locked frequency.

    The finding is ``own`` if ``heated`` (see ``limits``), otherwise ``outside``. Samples of 0 (asleep) are ignored.
    There are no findings if the contract does not require locked clocks.
    """
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
    """Yield a finding for each clock limit that changed between the samples of a window.

    The finding is ``own`` if ``heated`` (see ``limits``) and an upper limit became lower, otherwise ``outside``.
    """
    for window in windows:
        for name in sorted(name for name in map(str, window) if name.startswith("limit.")):
            values = numbers(window.get(name))
            if values and min(values) != max(values):
                part, key = name[len("limit.") :].rpartition(".")[::2]
                low, high = min(values) / 1e6, max(values) / 1e6
                text = f"the {key} clock of {part} varied from {low:.0f} to {high:.0f} MHz in a timed window"
                own = heated and key == "max" and max(values) == values[0]
                yield Finding("clocks", "own" if own else "outside", text)


def held_back(before: State, windows: Sequence[Mapping[str, Any]], *, heated: bool) -> Iterator[Finding]:
    """Yield a finding for each window whose median GPU clock is below the GPU's lowest allowed clock.

    It is ``own`` if ``heated`` (see ``limits``), otherwise ``outside``. Samples of 0 (asleep) are ignored.
    """
    least = number(before.clocks.get("gpu", {}).get("min"))
    for window in windows:
        values = [v for v in numbers(window.get("clock.gpu")) if v]
        if least and values and median(values) < BELOW * least:
            text = f"the GPU ran at {median(values) / 1e6:.0f} MHz, below its lowest clock of {least / 1e6:.0f} MHz"
            yield Finding("clocks", "own" if heated else "outside", text)
