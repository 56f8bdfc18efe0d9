"""The state it is in now, against the one that the config declares, as a session would judge it."""

from __future__ import annotations

import json
import re
import shlex
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
    """Power mode, clocks, heat, throttling, over-current, GPU clients, memory, swap, tegrastats."""
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
    wanted = case.spec.power_mode
    if wanted is None:
        if state.power_mode is None:
            return Finding(PART, "power mode", f"cannot be read{state.why_not('power_mode')}", "unknown")
        return Finding(PART, "power mode", f"{state.power_mode}, none declared")
    try:
        power_mode_check.check(case.name, wanted, state, case.facts)
    except HilError as error:
        what, _, way = str(error).partition(f": on target {case.name!r}: ")
        command = COMMAND.search(way)
        if command is None:
            return Finding(PART, "power mode", what, "bad", way)
        rest = f"{wanted}; then reboot: the modes use different parts of the GPU" if "reboot" in way else wanted
        return Finding(PART, "power mode", what, "bad", f"{command[1]}  # {rest}")
    return Finding(PART, "power mode", f"{state.power_mode}, as declared")


def _clocks(case: Case, state: State) -> Finding:
    told = _spans(state.clocks)
    if case.spec.clocks != "locked":
        now = {True: "locked now", False: "free", None: "cannot be told whether locked"}[state.locked]
        return Finding(PART, "clocks", f"{now}: {told}")
    if state.locked is True:
        return Finding(PART, "clocks", f"locked, as declared: {told}")
    if case.table("helper").get("answers") is True or (case.held and case.table("helper").get("installed") is True):
        return Finding(PART, "clocks", f"free; a session locks them: {told}")
    told = f"not locked, which clocks declares: {told}"
    return Finding(PART, "clocks", told, "bad", "sudo jetson_clocks  # or let sessions do it: hil board setup")


def _spans(clocks: Mapping[str, Mapping[str, Any]]) -> str:
    """``gpu 306 to 1173 MHz``; CPU policies alike are told once."""
    spans: dict[str, str] = {}
    for part, known in sorted(clocks.items()):
        low, high = known.get("min"), known.get("max")
        if isinstance(low, int) and isinstance(high, int):
            name = "cpu" if part.startswith("policy") else part
            span = f"{high / 1e6:.0f} MHz" if low == high else f"{low / 1e6:.0f} to {high / 1e6:.0f} MHz"
            spans[f"{name} {span}"] = ""
    return ", ".join(spans) or "no limits can be read"


def _temperature(case: Case, state: State) -> Finding:
    hottest, limit = state.hottest(), case.spec.start_below
    if hottest is None:
        told = f"no sensor can be read{state.why_not('temperature')}"
        mend = f"take start_below out of [targets.{case.name}]" if limit is not None else ""
        return Finding(PART, "temperature", told, "unknown" if limit is None else "bad", mend)
    zone, value = hottest
    told = f"{value:.1f} °C at most ({zone})"
    if limit is not None and value >= limit:
        told += f"; sessions wait until it is under {limit:g} °C"
        return Finding(PART, "temperature", told, "warn", "let it cool, and see that its fan turns")
    return Finding(PART, "temperature", told)


def _throttling(case: Case, state: State) -> Finding:
    active = sorted(name for name, value in state.throttle.items() if value > 0)
    if active:
        mend = "let it cool; see to its fan and its power supply"
        # Under a session's own load it is that session's to judge.
        return Finding(PART, "throttling", f"{', '.join(active)} active now", "warn" if case.held else "bad", mend)
    if not state.throttle:
        return Finding(PART, "throttling", "the kernel shows no alerts here", "unknown")
    return Finding(PART, "throttling", f"none of {len(state.throttle)} alerts active")


def _over_current(state: State) -> Finding:
    told = [f"{SUPPLY.get(name, name)} {value:.0f}" for name, value in sorted(state.over_current.items()) if value]
    supply = any(state.over_current.get(name) for name in disturbances.INVALID)
    if not told:
        return Finding(PART, "over-current", "no events since boot")
    mend = "use the power supply that came with the board, or a lower power mode" if supply else ""
    return Finding(PART, "over-current", f"events since boot: {', '.join(told)}", "warn" if supply else "ok", mend)


def _clients(case: Case, state: State) -> Finding:
    # Where nothing is declared a session tells of others and goes on: a desktop's own would stop every run.
    declared = "gpu_clients" in case.spec.model_fields_set
    if state.gpu_clients is None:
        told = f"cannot be read{state.why_not('gpu_clients')}"
        return Finding(PART, "GPU clients", told, "bad" if declared else "unknown", fixes.setup(case))
    names = [str(one.get("name") or one.get("pid")) for one in state.gpu_clients]
    if case.held:
        return Finding(PART, "GPU clients", f"{', '.join(names) or 'none'}; the session's own are among them")
    others = list(disturbances.gpu_clients(Contract.of(case.spec), [state]))
    if not others:
        return Finding(PART, "GPU clients", f"{', '.join(names)}, all allowed" if names else "none")
    told = ", ".join(f"{one.get('name') or 'unnamed'} (process {one.get('pid')})" for one in state.gpu_clients)
    allow = json.dumps(sorted({*case.spec.gpu_clients, *(n for n in names if not n.isdigit())}), ensure_ascii=False)
    pids = " ".join(str(one["pid"]) for one in state.gpu_clients if type(one.get("pid")) is int)
    mend = f"gpu_clients = {allow}  {case.config}, if they may; else: sudo kill {pids}"
    return Finding(PART, "GPU clients", f"{told} may disturb", "bad" if declared else "warn", mend)


def _memory(case: Case, state: State) -> Finding:
    needed = int(case.spec.free_memory or 0) + int(case.spec.reserve_memory or 0)
    free = state.memory_available
    if case.held and free is not None:
        return Finding(PART, "memory", f"{show(free, 'B')} available beside who holds it")
    if free is None:
        told = f"cannot be told{state.why_not('memory_available')}"
        return Finding(PART, "memory", told, "bad" if needed else "unknown")
    if free < needed:
        told = f"{show(free, 'B')} available, {show(needed, 'B')} asked for (free_memory, reserve_memory)"
        return Finding(PART, "memory", told, "bad", "ps -eo rss,pid,user,comm --sort=-rss | head  # what to end there")
    return Finding(PART, "memory", f"{show(free, 'B')} available")


def _swap(state: State) -> Finding:
    used = state.swap_used or 0
    if used <= SWAP:
        return Finding(PART, "swap", "none in use")
    mend = "sudo swapoff -a && sudo swapon -a" if (state.memory_available or 0) > 2 * used else ""
    return Finding(PART, "swap", f"{show(used, 'B')} in use: what is measured may wait for it", "warn", mend)


def _tegrastats(case: Case) -> Finding:
    told = case.table("tegrastats")
    if told.get("works") is True:
        return Finding(PART, "tegrastats", "its lines can be read")
    if case.held:
        return Finding(PART, "tegrastats", "not started while it is held", "unknown")
    why = case.text("tegrastats", "why") or "the reason was not told"
    mend = f"{shlex.join(['sudo', 'apt-get', 'install', '--reinstall', 'nvidia-l4t-tools'])}"
    return Finding(PART, "tegrastats", f"does not work: {why}", "warn", mend)
