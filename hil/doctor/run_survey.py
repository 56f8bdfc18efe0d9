"""Collect the facts of a machine: the agent runs there once, from memory, without being uploaded to the store."""

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
"""The time limit of a survey; its own limits (25 s for imports, 20 s for the driver) run in parallel."""

BOOT = (
    "import os, sys, tempfile; "
    'f = tempfile.TemporaryFile(dir="/dev/shm" if os.access("/dev/shm", 2) else None); '
    "f.write(sys.stdin.buffer.read()); f.flush(); "
    'sys.path.insert(0, "/proc/%d/fd/%d" % (os.getpid(), f.fileno())); '
    f"from {PACKAGE}.machine.survey import main; main()"
)
"""Runs the archive from standard input. The archive's file has no name, so it disappears when the process ends, also
if it is killed. Child processes open the file through the id of this process."""

START = 'P=$1; shift; case $P in "~/"*) P=$HOME/${P#"~/"};; esac; exec "$P" -B -c "$@"'
"""A constant script for POSIX sh, like those in ``hil.targets.ssh.scripts``."""


@dataclass(frozen=True)
class SurveyResult:
    """The result of ``hil.agent.machine.survey`` on a machine.

    Attributes:
        facts: the collected facts; empty if the machine's interpreter did not work.
        trouble: the message if the interpreter did not work, else ``None``.
        ahead: how many seconds the machine's clock is ahead of this one's; ``None`` if unknown.
        seconds: how long the survey took.
    """

    facts: Mapping[str, Any] = field(default_factory=dict)
    trouble: str | None = None
    ahead: float | None = None
    seconds: float = 0.0


def survey_target(target: Target, *, runtimes: Sequence[str], gpu: bool, holder_only: bool = False) -> SurveyResult:
    """Return the survey of ``target``; with ``holder_only``, its facts are only who holds it and its clock's time.

    ``runtimes`` are the names of the runtimes to import. They are imported, and the GPU is queried if ``gpu`` is true,
    only if nobody holds the target. Raises the errors of ``Target.run``.
    """
    begun = time.monotonic()
    order = {"store": _store(target), "runtimes": list(runtimes), "gpu": gpu, "holder_only": holder_only}
    order |= {"who": f"hil doctor of {_user()} (pid {os.getpid()})", "host": socket.gethostname()}
    done = target.run(["sh", "-c", START, "hil", _python(target), BOOT, json.dumps(order)], agent_bytes(), SECONDS)
    now = time.time()
    facts = _facts(done)
    seconds = time.monotonic() - begun
    if facts is None:
        return SurveyResult(trouble=_trouble(target, done), seconds=seconds)
    clock = facts.get("time")
    ahead = clock - now if isinstance(clock, float) else None
    return SurveyResult(facts, None, ahead, seconds)


def _user() -> str:
    try:
        return getpass.getuser()
    except (KeyError, OSError):  # a user id without a name
        return str(os.getuid())


def _store(target: Target) -> str:
    """Return the store's folder that ``start_agent`` would use; empty for the default folder on the target."""
    if target.kind == "local":
        return str(target.spec.store or cache_folder() / "store")
    return target.spec.store or ""


def _python(target: Target) -> str:
    return target.spec.python or (sys.executable if target.kind == "local" else "python3")


def _facts(done: Done) -> dict[str, Any] | None:
    """Return the facts in the last line that starts with ``MARK``; shells and libraries may print other lines."""
    at = done.out.rfind(b"\n" + MARK)
    if at < 0:
        return None
    try:
        document = json.loads(done.out[at + len(MARK) + 1 :].split(b"\n")[0])
    except (ValueError, RecursionError):
        return None
    return cleaned(document) if isinstance(document, dict) else None


def _trouble(target: Target, done: Done) -> str:
    """Return the message that states why the interpreter returned no facts.

    The reason is the fault that an inspection of the interpreter reports, else the last line of its stderr.
    """
    from hil.targets.ssh import scripts, start_failures  # imports paramiko, which a local target does not need

    python = _python(target)
    inspected = target.run(["sh", "-c", scripts.INSPECT, "hil", "", "", python], timeout=SECONDS)
    message = start_failures.failure_message(python, start_failures.parse_facts(inspected.out), target.name)
    lines = done.err.decode("utf-8", "replace").strip().splitlines()
    last = clean(lines[-1], QUOTED) if lines else "no output"
    see = f"try `{python} -c 'import json, ctypes, zlib'` there"
    return message or f"{python} cannot run the agent (code {done.code}: {last}): on target {target.name!r}: {see}"


def holder_of(target: Target) -> tuple[str | None, Mapping[str, Any] | None]:
    """Return why ``target`` does not answer (``None`` if it does), and who holds it (``None`` if nobody or unknown).

    Closes ``target``.
    """
    with target:
        try:
            survey = survey_target(target, runtimes=(), gpu=False, holder_only=True)
        except HilError as error:
            return str(error), None
    if survey.trouble is not None:
        return survey.trouble, None
    holder = survey.facts.get("holder")
    return None, holder if isinstance(holder, dict) else None
