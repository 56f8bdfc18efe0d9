"""Judge what else a session needs: the store, the root helper and a correct clock."""

from __future__ import annotations

import datetime as dt
import shlex
from typing import TYPE_CHECKING

from hil.doctor import fixes
from hil.doctor.findings import Case, Finding, State, count
from hil.jetson import identify
from hil.units import show

if TYPE_CHECKING:
    from collections.abc import Iterator

LEAST_FREE = 64 << 20
"""The free space, in bytes, that any session needs: for the agent, a small model and its engine."""
CLOCK_SECONDS = 60.0
"""The clock error that is accepted: TLS certificates and logs tolerate minutes at most."""
MINUTE, DAY, YEAR = 60.0, 86400.0, 365.25 * 86400.0


def findings(case: Case) -> Iterator[Finding]:
    """Yield the findings on store, root helper and clock."""
    yield _store(case)
    yield from _helper(case)
    yield _clock(case)


def _store(case: Case) -> Finding:
    facts = case.table("store")
    path = case.text("store", "path") or "unknown path"
    free, used = count(facts.get("free")), count(facts.get("used"))
    if facts.get("writable") is not True:
        fix = f'store = "/a/folder/of/yours"  {case.config}, or: sudo chown {_owner(case)} {_quoted(case)}'
        return Finding("store", "store", f"{path} cannot be written", "bad", fix)
    if free is None:
        return Finding("store", "store", f"{path}; its free space is unknown", "unknown")
    size = int(case.spec.store_size)
    result = f"{path}, {show(free, 'B')} free" + (f", {show(used, 'B')} in use" if used else "")
    fix = f"df -h {_quoted(case)}  # find what fills it, or set store to a folder on a larger disk"
    if free < LEAST_FREE:
        return Finding("store", "store", result, "bad", fix)
    if free + (used or 0) < size:
        fix = f'store_size = "{(free + (used or 0)) >> 20} MiB"  {case.config}, or free some space there'
        return Finding("store", "store", f"{result}; store_size is {show(size, 'B')}", "warn", fix)
    return Finding("store", "store", result)


def _owner(case: Case) -> str:
    return shlex.quote(case.text("account", "name") or "USER")


def _quoted(case: Case) -> str:
    """Return the store's nearest existing folder, quoted for a shell."""
    return shlex.quote(case.text("store", "place") or case.text("store", "path") or "/")


def _helper(case: Case) -> Iterator[Finding]:
    """Yield a finding on the root helper.

    Yield nothing for a machine that is not a Jetson, does not have the helper and does not need it.
    """
    needs = _needs(case)
    helper = case.table("helper")
    if not needs and not helper.get("installed") and not identify(case.facts.get("board")).is_jetson:
        return
    services = helper.get("services")
    allowed = [name for name in services if isinstance(name, str)] if isinstance(services, list) else []
    absent = [name for name in case.spec.stop_services if name not in allowed]
    fix = fixes.setup(case)
    listed = f"services: {', '.join(allowed) or 'none'}"
    state: State = "bad" if needs else "warn"
    # The agent's reason ends with the command to run, which is the fix here.
    why = (case.text("helper", "why_not") or "").partition(": run ")[0]
    if not helper.get("installed"):
        needed = f"; needed for {' and '.join(needs)}" if needs else ""
        yield Finding("store", "root helper", f"{why or 'not installed'}{needed}", state, fix)
    elif absent:
        yield Finding("store", "root helper", f"may not restart {', '.join(absent)} ({listed})", "bad", fix)
    elif case.held:
        yield Finding("store", "root helper", f"installed, {listed}; not started while the target is held", "unknown")
    elif helper.get("answers") is not True:
        yield Finding("store", "root helper", why or "does not answer", state, fix)
    else:
        yield Finding("store", "root helper", f"version {helper.get('wants')}, {listed}")


def _needs(case: Case) -> list[str]:
    clocks = ['clocks = "locked"'] if case.spec.clocks == "locked" else []
    return [*clocks, *(["stop_services"] if case.spec.stop_services else [])]


def _clock(case: Case) -> Finding:
    ahead = case.ahead
    if ahead is None or ahead != ahead:  # noqa: PLR0124 - not a number
        return Finding("store", "clock", "unknown", "unknown")
    if abs(ahead) < CLOCK_SECONDS:
        return Finding("store", "clock", "within a minute of this machine's")
    result = f"{_duration(abs(ahead))} {'ahead of' if ahead > 0 else 'behind'} this machine's"
    # Setting the date by hand is for boards that cannot reach a time server, as in many labs.
    now = dt.datetime.now(dt.timezone.utc).strftime("%Y-%m-%d %H:%M")
    return Finding("store", "clock", result, "warn", f"sudo timedatectl set-ntp true  # or: sudo date -u -s '{now}'")


def _duration(seconds: float) -> str:
    for unit, name in ((YEAR, "years"), (DAY, "days"), (3600.0, "hours"), (MINUTE, "minutes")):
        if seconds >= 2 * unit:
            return f"{seconds / unit:.0f} {name}"
    return f"{seconds:.0f} s"
