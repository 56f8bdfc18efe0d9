"""Asking a machine: the agent runs there from memory, once, and leaves nothing behind; no store, no upload."""

from __future__ import annotations

import getpass
import json
import os
import socket
import sys
import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from hil.agent.machine.survey import MARK
from hil.errors import HilError
from hil.targets.bundle import PACKAGE, agent_bytes, cache_folder
from hil.targets.words import QUOTED
from hil.text import clean, cleaned

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from hil.targets.target import Done, Target

SECONDS = 60.0
"""What a machine may take at most: its own limits (25 s for imports, 20 s for the driver) run at the same time."""

BOOT = (
    "import os, sys, tempfile; "
    'f = tempfile.TemporaryFile(dir="/dev/shm" if os.access("/dev/shm", 2) else None); '
    "f.write(sys.stdin.buffer.read()); f.flush(); "
    'sys.path.insert(0, "/proc/%d/fd/%d" % (os.getpid(), f.fileno())); '
    f"from {PACKAGE}.machine.survey import main; main()"
)
"""Runs the archive that comes on standard input. Its file has no name, so that it goes with the process, however that
ends, and every process of its own that it starts can read it by the first one's number."""

START = 'P=$1; shift; case $P in "~/"*) P=$HOME/${P#"~/"};; esac; exec "$P" -B -c "$@"'
"""For POSIX sh, constant, like those of ``hil.targets.ssh.scripts``."""


@dataclass(frozen=True)
class Looked:
    """What came of it: ``facts`` (``hil.agent.machine.survey``), or ``trouble`` with the interpreter, as a message.

    ``ahead`` is by how many seconds the machine's clock is ahead of this one's; ``seconds`` is what asking took.
    """

    facts: Mapping[str, Any] = field(default_factory=dict)
    trouble: str | None = None
    ahead: float | None = None
    seconds: float = 0.0


def look(target: Target, *, runtimes: Sequence[str], gpu: bool, holder_only: bool = False) -> Looked:
    """Asks ``target`` about itself, its GPU too with ``gpu``, unless it is held; with ``holder_only`` who holds it.

    Raises ``TargetUnreachable`` and ``LabError`` where nobody can be asked, as ``Target.run`` does.
    """
    begun = time.monotonic()
    order = {"store": _store(target), "runtimes": list(runtimes), "gpu": gpu, "holder_only": holder_only}
    order |= {"who": f"hil doctor of {_user()} (pid {os.getpid()})", "host": socket.gethostname()}
    done = target.run(["sh", "-c", START, "hil", _python(target), BOOT, json.dumps(order)], agent_bytes(), SECONDS)
    now = time.time()
    facts = _facts(done)
    seconds = time.monotonic() - begun
    if facts is None:
        return Looked(trouble=_trouble(target, done), seconds=seconds)
    clock = facts.get("time")
    ahead = clock - now if isinstance(clock, float) else None
    return Looked(facts, None, ahead, seconds)


def _user() -> str:
    try:
        return getpass.getuser()
    except (KeyError, OSError):  # a number without a name
        return str(os.getuid())


def _store(target: Target) -> str:
    """The store as ``start_agent`` would use it; empty for the machine's usual one."""
    if target.kind == "local":
        return str(target.spec.store or cache_folder() / "store")
    return target.spec.store or ""


def _python(target: Target) -> str:
    return target.spec.python or (sys.executable if target.kind == "local" else "python3")


def _facts(done: Done) -> dict[str, Any] | None:
    """The last line that has our mark: whatever shells and libraries print stands around it."""
    at = done.out.rfind(b"\n" + MARK)
    if at < 0:
        return None
    try:
        told = json.loads(done.out[at + len(MARK) + 1 :].split(b"\n")[0])
    except (ValueError, RecursionError):
        return None
    return cleaned(told) if isinstance(told, dict) else None


def _trouble(target: Target, done: Done) -> str:
    """Why its interpreter did not answer, as the machine itself tells, else in the interpreter's last words."""
    from hil.targets.ssh import scripts, start_failures  # imports paramiko, which a local target does not need

    python = _python(target)
    inspected = target.run(["sh", "-c", scripts.INSPECT, "hil", "", "", python], timeout=SECONDS)
    message = start_failures.failure_message(python, start_failures.parse_facts(inspected.out), target.name)
    lines = done.err.decode("utf-8", "replace").strip().splitlines()
    last = clean(lines[-1], QUOTED) if lines else "no output"
    see = f"try `{python} -c 'import json, ctypes, zlib'` there"
    return message or f"{python} cannot run the agent (code {done.code}: {last}): on target {target.name!r}: {see}"


def holder_of(target: Target) -> tuple[str | None, Mapping[str, Any] | None]:
    """Why ``target`` is not reachable (``None``: it is), and who holds it (``None``: nobody). Closes it."""
    with target:
        try:
            told = look(target, runtimes=(), gpu=False, holder_only=True)
        except HilError as error:
            return str(error), None
    if told.trouble is not None:
        return told.trouble, None
    holder = told.facts.get("holder")
    return None, holder if isinstance(holder, dict) else None
