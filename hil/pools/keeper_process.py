"""Start the keeper process of a lab, name it uniquely for a run, and ask it one question."""

from __future__ import annotations

import contextlib
import getpass
import importlib.util
import json
import os
import socket
import subprocess
import sys
from typing import TYPE_CHECKING, Any

from hil.errors import LabError, UserError
from hil.text import cleaned

if TYPE_CHECKING:
    from hil.config.spec import TargetSpec

MARK = "-hil-"
ASK_SECONDS = 60.0


def release_command(coordinator: str, place: str) -> str:
    """Return labgrid's command that frees ``place``, whoever holds it."""
    return f"labgrid-client -x {coordinator} -p {place} release --kick"


def start_keeper(spec: TargetSpec, name: str, user: str, **order: Any) -> subprocess.Popen[str]:
    """Start a keeper process for the target ``name``, and send it ``order`` with the coordinator and tags of ``spec``.

    ``user`` is the name under which the process holds places. Raise ``UserError`` if labgrid is not installed.
    """
    if importlib.util.find_spec("labgrid") is None:
        what = f"kind 'labgrid' needs the package labgrid, which is not installed: on target {name!r}"
        raise UserError(f"{what}: pip install 'pytest-hil[labgrid]'")
    env = {**os.environ, "LG_HOSTNAME": host_name(), "LG_USERNAME": user}
    keeper = subprocess.Popen(
        [sys.executable, "-m", "hil.pools.keeper"],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env=env,
        start_new_session=True,  # Ctrl-C is for the run, which then closes the keeper
    )
    assert keeper.stdin is not None  # noqa: S101 - it is a pipe
    keeper.stdin.write(json.dumps({"coordinator": spec.coordinator, "filter": spec.filter, **order}) + "\n")
    keeper.stdin.flush()
    return keeper


def user_of(run_id: str) -> str:
    """Return the user name, unique for this run, under which the coordinator records the run's places."""
    return f"{getpass.getuser().replace('/', '-')}{MARK}{os.getpid()}-{run_id}"


def holder_of_run(run_id: str) -> str:
    """Return the holder of this run's places as the coordinator reports it: ``HOST/USER``."""
    return f"{host_name()}/{user_of(run_id)}"


def host_name() -> str:
    """Return the name of this machine in a holder that the coordinator reports."""
    return socket.gethostname().replace("/", "-")


def ask(spec: TargetSpec, name: str, **order: Any) -> dict[str, Any]:
    """Start a keeper that only answers the question ``order``, and return its answer, ``holders`` or ``closed``.

    Raises ``LabError`` if the coordinator does not answer within ``ASK_SECONDS`` or refuses the request, ``UserError``
    if labgrid is not installed.
    """
    keeper = start_keeper(spec, name, user_of("ask"), **order)
    try:
        out, _ = keeper.communicate(timeout=ASK_SECONDS)
    except subprocess.TimeoutExpired:
        keeper.kill()
        keeper.communicate()
        out = ""
    for line in out.splitlines():
        with contextlib.suppress(ValueError):
            event: dict[str, Any] = cleaned(json.loads(line))
            if event.get("event") in ("holders", "closed"):
                return event
            if event.get("event") == "failed":
                fix = f"start the coordinator, or correct coordinator in [targets.{name}]"
                raise LabError(f"{event.get('reason')}: on target {name!r}: {fix}")
    raise LabError(f"the coordinator {spec.coordinator} does not answer: on target {name!r}: start the coordinator")
