"""What a session needs beside software: the store, root's helper, a clock that is right."""

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
"""Bytes below which no session gets far: a small model, its engine and the agent."""
CLOCK_SECONDS = 60.0
"""By how much a clock may be wrong: TLS certificates and logs forgive minutes at most."""
MINUTE, DAY, YEAR = 60.0, 86400.0, 365.25 * 86400.0


def findings(case: Case) -> Iterator[Finding]:
    """Store, helper, clock."""
    yield _store(case)
    yield from _helper(case)
    yield _clock(case)


def _store(case: Case) -> Finding:
    told = case.table("store")
    path, free, used = (
        case.text("store", "path") or "of no known path",
        count(told.get("free")),
        count(told.get("used")),
    )
    if told.get("writable") is not True:
        mend = f'store = "/a/folder/of/yours"  {case.config}, or: sudo chown {_owner(case)} {_quoted(case)}'
        return Finding("store", "store", f"{path} cannot be written", "bad", mend)
    if free is None:
        return Finding("store", "store", f"{path}; how much is free there cannot be told", "unknown")
    size = int(case.spec.store_size)
    words = f"{path}, {show(free, 'B')} free" + (f", {show(used, 'B')} in use" if used else "")
    mend = f"df -h {_quoted(case)}  # see what fills it, or set store to a larger disk"
    if free < LEAST_FREE:
        return Finding("store", "store", words, "bad", mend)
    if free + (used or 0) < size:
        mend = f'store_size = "{(free + (used or 0)) >> 20} MiB"  {case.config}, or free space there'
        return Finding("store", "store", f"{words}; store_size is {show(size, 'B')}", "warn", mend)
    return Finding("store", "store", words)


def _owner(case: Case) -> str:
    return shlex.quote(case.text("account", "name") or "USER")


def _quoted(case: Case) -> str:
    """The folder nearest to the store that is there."""
    return shlex.quote(case.text("store", "place") or case.text("store", "path") or "/")


def _helper(case: Case) -> Iterator[Finding]:
    """Needed where clocks or services are to be changed; elsewhere some facts stay unread without it."""
    needs = _needs(case)
    found = case.table("helper")
    if not needs and not found.get("installed") and not identify(case.facts.get("board")).is_jetson:
        return
    services = found.get("services")
    allowed = [one for one in services if isinstance(one, str)] if isinstance(services, list) else []
    absent = [one for one in case.spec.stop_services if one not in allowed]
    mend = fixes.setup(case)
    listed = f"services: {', '.join(allowed) or 'none'}"
    state: State = "bad" if needs else "warn"
    # Who set it up is told where to run the command; here that is the mend.
    why = (case.text("helper", "why_not") or "").partition(": run ")[0]
    if not found.get("installed"):
        lacks = f"; needed for {' and '.join(needs)}" if needs else ""
        yield Finding("store", "root helper", f"{why or 'not there'}{lacks}", state, mend)
    elif absent:
        yield Finding("store", "root helper", f"may not restart {', '.join(absent)} ({listed})", "bad", mend)
    elif case.held:
        yield Finding("store", "root helper", f"installed, {listed}; not started while it is held", "unknown")
    elif found.get("answers") is not True:
        yield Finding("store", "root helper", why or "it does not answer", state, mend)
    else:
        yield Finding("store", "root helper", f"version {found.get('wants')}, {listed}")


def _needs(case: Case) -> list[str]:
    asked = ['clocks = "locked"'] if case.spec.clocks == "locked" else []
    return [*asked, *(["stop_services"] if case.spec.stop_services else [])]


def _clock(case: Case) -> Finding:
    ahead = case.ahead
    if ahead is None or ahead != ahead:  # noqa: PLR0124 - not a number
        return Finding("store", "clock", "cannot be told", "unknown")
    if abs(ahead) < CLOCK_SECONDS:
        return Finding("store", "clock", "as here, within a minute")
    told = f"{_duration(abs(ahead))} {'ahead of' if ahead > 0 else 'behind'} this machine's"
    # By hand it is for boards without a network that leads to a time server, as those of many labs are.
    now = dt.datetime.now(dt.timezone.utc).strftime("%Y-%m-%d %H:%M")
    return Finding("store", "clock", told, "warn", f"sudo timedatectl set-ntp true  # or: sudo date -u -s '{now}'")


def _duration(seconds: float) -> str:
    for unit, name in ((YEAR, "years"), (DAY, "days"), (3600.0, "hours"), (MINUTE, "minutes")):
        if seconds >= 2 * unit:
            return f"{seconds / unit:.0f} {name}"
    return f"{seconds:.0f} s"
