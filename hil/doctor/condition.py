"""Judge the target's current state, compared with the declared state in the same way as in a session."""

from __future__ import annotations

import json
import re
from typing import TYPE_CHECKING, Any

from hil.doctor import fixes
from hil.doctor.findings import Case, Finding
from hil.errors import HilError
from hil.jetson import identify
from hil.session.target import power_mode_check
from hil.state import Contract, State, disturbances
from hil.units import show

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

PART = "state"
SWAP = 1 << 20
SUPPLY = {"oc1": "under-voltage", "oc2": "average current", "oc3": "peak current"}
COMMAND = re.compile(r"`(sudo [^`]+)`")


def findings(case: Case) -> Iterator[Finding]:
    """Yield the findings on the target's state, from its power mode to tegrastats."""
    state = State.read(case.facts.get("state"))
    jetson = identify(case.facts.get("board")).is_jetson
    if jetson or case.spec.power_mode is not None:
        yield _power(case, state)
    if jetson or state.clocks or case.spec.clocks == "locked":
        yield _clocks(case, state)
    if jetson or state.temperature or case.spec.start_below is not None:
        yield _temperature(case, state)
    if jetson or state.throttle:
        yield _throttling(case, state)
    if state.over_current:
        yield _over_current(state)
    if jetson or case.wants_gpu or state.gpu_clients:
        yield _clients(case, state)
    yield _memory(case, state)
    if state.swap_used is not None:
        yield _swap(state)
    if jetson:
        yield _tegrastats(case)


def _power(case: Case, state: State) -> Finding:
    declared = case.spec.power_mode
    if declared is None:
        if state.power_mode is None:
            return Finding(PART, "power mode", f"unreadable{state.why_not('power_mode')}", "unknown")
        return Finding(PART, "power mode", f"{state.power_mode}, none declared")
    try:
        power_mode_check.check(case.name, declared, state, case.facts)
    except HilError as error:
        what, _, advice = str(error).partition(f": on target {case.name!r}: ")
        command = COMMAND.search(advice)
        if command is None:
            return Finding(PART, "power mode", what, "bad", advice)
        comment = declared
        if "reboot" in advice:
            comment = f"{declared}; then reboot: the modes use different parts of the GPU"
        return Finding(PART, "power mode", what, "bad", f"{command[1]}  # {comment}")
    return Finding(PART, "power mode", f"{state.power_mode}, as declared")


def _clocks(case: Case, state: State) -> Finding:
    ranges = _clock_ranges(state.clocks)
    if case.spec.clocks != "locked":
        now = {True: "locked now", False: "not locked", None: "unknown whether locked"}[state.locked]
        return Finding(PART, "clocks", f"{now}: {ranges}")
    if state.locked is True:
        return Finding(PART, "clocks", f"locked, as declared: {ranges}")
    if case.table("helper").get("answers") is True or (case.held and case.table("helper").get("installed") is True):
        return Finding(PART, "clocks", f"not locked; a session locks them: {ranges}")
    result = f'not locked, although clocks = "locked" is declared: {ranges}'
    return Finding(PART, "clocks", result, "bad", "sudo jetson_clocks  # or let sessions do it: hil board setup")


def _clock_ranges(clocks: Mapping[str, Mapping[str, Any]]) -> str:
    """Return the clocks' limits as text, such as ``gpu 306 to 1173 MHz``; equal ranges of CPU policies are one text."""
    texts: dict[str, None] = {}
    for part, known in sorted(clocks.items()):
        low, high = known.get("min"), known.get("max")
        if isinstance(low, int) and isinstance(high, int):
            name = "cpu" if part.startswith("policy") else part
            span = f"{high / 1e6:.0f} MHz" if low == high else f"{low / 1e6:.0f} to {high / 1e6:.0f} MHz"
            texts[f"{name} {span}"] = None
    return ", ".join(texts) or "their limits are unreadable"


def _temperature(case: Case, state: State) -> Finding:
    hottest, limit = state.hottest(), case.spec.start_below
    if hottest is None:
        result = f"no readable sensor{state.why_not('temperature')}"
        fix = f"remove start_below from [targets.{case.name}]" if limit is not None else ""
        return Finding(PART, "temperature", result, "unknown" if limit is None else "bad", fix)
    zone, value = hottest
    result = f"{value:.1f} °C at most ({zone})"
    if limit is not None and value >= limit:
        result += f"; sessions wait until it is below {limit:g} °C"
        return Finding(PART, "temperature", result, "warn", "let the board cool, and check that its fan turns")
    return Finding(PART, "temperature", result)


def _throttling(case: Case, state: State) -> Finding:
    active = sorted(name for name, value in state.throttle.items() if value > 0)
    if active:
        fix = "let the board cool; check its fan and its power supply"
        # While the target is held, the session's own load may be the reason, and that session judges it.
        return Finding(PART, "throttling", f"{', '.join(active)} active now", "warn" if case.held else "bad", fix)
    if not state.throttle:
        return Finding(PART, "throttling", "the kernel has no readable alerts", "unknown")
    return Finding(PART, "throttling", f"none of {len(state.throttle)} alerts active")


def _over_current(state: State) -> Finding:
    events = [f"{SUPPLY.get(name, name)} {value:.0f}" for name, value in sorted(state.over_current.items()) if value]
    supply = any(state.over_current.get(name) for name in disturbances.INVALID)
    if not events:
        return Finding(PART, "over-current", "no events since boot")
    fix = "use the power supply that came with the board, or a lower power mode" if supply else ""
    return Finding(PART, "over-current", f"events since boot: {', '.join(events)}", "warn" if supply else "ok", fix)


def _clients(case: Case, state: State) -> Finding:
    # Without a declaration, a session only reports other clients: a desktop has some, which would stop every run.
    declared = "gpu_clients" in case.spec.model_fields_set
    if state.gpu_clients is None:
        result = f"unreadable{state.why_not('gpu_clients')}"
        return Finding(PART, "GPU clients", result, "bad" if declared else "unknown", fixes.setup(case))
    clients = state.gpu_clients
    names = [str(client.get("name") or client.get("pid")) for client in clients]
    if case.held:
        return Finding(PART, "GPU clients", f"{', '.join(names)} (those of the session included)" if names else "none")
    others = list(disturbances.gpu_clients(Contract.of(case.spec), [state]))
    if not others:
        return Finding(PART, "GPU clients", f"{', '.join(names)}, all allowed" if names else "none")
    listed = ", ".join(f"{client.get('name') or 'unnamed'} (process {client.get('pid')})" for client in clients)
    allow = json.dumps(sorted({*case.spec.gpu_clients, *(n for n in names if not n.isdigit())}), ensure_ascii=False)
    pids = " ".join(str(client["pid"]) for client in clients if type(client.get("pid")) is int)
    fix = f"gpu_clients = {allow}  {case.config}, to allow them; else: sudo kill {pids}"
    return Finding(PART, "GPU clients", f"{listed} may disturb measurements", "bad" if declared else "warn", fix)


def _memory(case: Case, state: State) -> Finding:
    needed = int(case.spec.free_memory or 0) + int(case.spec.reserve_memory or 0)
    free = state.memory_available
    if case.held and free is not None:
        return Finding(PART, "memory", f"{show(free, 'B')} available while the target is held")
    if free is None:
        result = f"unknown{state.why_not('memory_available')}"
        fix = f"remove free_memory and reserve_memory from [targets.{case.name}]" if needed else ""
        return Finding(PART, "memory", result, "bad" if needed else "unknown", fix)
    if free < needed:
        result = f"{show(free, 'B')} available, {show(needed, 'B')} required (free_memory, reserve_memory)"
        fix = "ps -eo rss,pid,user,comm --sort=-rss | head  # lists processes that could be stopped"
        return Finding(PART, "memory", result, "bad", fix)
    return Finding(PART, "memory", f"{show(free, 'B')} available")


def _swap(state: State) -> Finding:
    used = state.swap_used or 0
    if used <= SWAP:
        return Finding(PART, "swap", "none in use")
    fix = "sudo swapoff -a && sudo swapon -a" if (state.memory_available or 0) > 2 * used else ""
    return Finding(PART, "swap", f"{show(used, 'B')} in use: it may delay measured calls", "warn", fix)


def _tegrastats(case: Case) -> Finding:
    if case.table("tegrastats").get("works") is True:
        return Finding(PART, "tegrastats", "works")
    if case.held:
        return Finding(PART, "tegrastats", "not started while the target is held", "unknown")
    why = case.text("tegrastats", "why") or "the reason is unknown"
    fix = "sudo apt-get install --reinstall nvidia-l4t-tools"
    return Finding(PART, "tegrastats", f"does not work: {why}", "warn", fix)
