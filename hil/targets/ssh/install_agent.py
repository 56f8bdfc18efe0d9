"""Bringing the agent to a machine across a network, and starting it: one command where it is there already."""

from __future__ import annotations

import hashlib
import re
from typing import TYPE_CHECKING

from hil.errors import LabError, TargetUnreachable, UserError
from hil.targets.bundle import agent_bytes
from hil.targets.client import AgentClient
from hil.targets.link import GREETING_PATIENCE, Link
from hil.targets.ssh import scripts, start_failures
from hil.targets.ssh.remote_process import SshProcess, finish, shell
from hil.targets.ssh.ssh_errors import ConnectionLost
from hil.targets.start_agent import agent_arguments
from hil.targets.words import QUOTED
from hil.text import clean

if TYPE_CHECKING:
    from hil.config.spec import TargetSpec
    from hil.targets.ssh.connect import Connection

UPLOAD_SECONDS = 120.0
LOOK_SECONDS = 30.0
CONTROL = re.compile(r"[\x00-\x1f\x7f]")


class Provision:
    """The agent on one machine: ``digest`` is the SHA-256 of the archive that this version of ours sends."""

    def __init__(self, connection: Connection, name: str, spec: TargetSpec) -> None:
        """Raises ``UserError`` for a store or an interpreter that no machine can have."""
        self.connection = connection
        self.name = name
        self.spec = spec
        self.store = _checked(spec.store or "", "store", name)
        self.python = _checked(spec.python or "python3", "python", name)
        self.archive = agent_bytes()
        self.digest = hashlib.sha256(self.archive).hexdigest()

    def start(self) -> tuple[AgentClient, SshProcess]:
        """An agent that has greeted, and its process.

        Raises ``TargetUnreachable`` where none can be started, ``LabError`` where the store cannot be used.
        """
        for sent in (False, True):
            process = SshProcess(self.connection, self._script(scripts.START), GREETING_PATIENCE)
            try:
                return AgentClient(Link(process, self.name, self.spec.silence), self.digest), process
            except TargetUnreachable as error:
                if process.code == scripts.ABSENT and not sent:
                    self._upload()
                    continue
                raise TargetUnreachable(self._why(process.code) or str(error)) from None
        raise AssertionError("the second time either greets or raises")

    def _script(self, script: str) -> str:
        arguments = agent_arguments(self.spec) if script is scripts.START else []
        return shell(script, self.store, self.digest, self.python, *arguments)

    def _why(self, code: int | None) -> str | None:
        """What the machine itself tells of an agent that did not start; ``None`` where it knows no better."""
        where = f"on target {self.name!r}"
        if not self.connection.alive:
            return f"the connection was lost while the agent started: {where}: run again"
        if code == scripts.ABSENT:
            return f"the agent was sent and is not there: {where}: see what clears its store, or set store elsewhere"
        done = finish(SshProcess(self.connection, self._script(scripts.LOOK), None), b"", LOOK_SECONDS)
        return start_failures.trouble(self.python, start_failures.facts(done.out), self.name) if done else None

    def _upload(self) -> None:
        """Sends the archive. Raises ``LabError`` where the store does not take it, ``ConnectionLost``."""
        process = SshProcess(self.connection, self._script(scripts.UPLOAD), None)
        done = finish(process, self.archive, UPLOAD_SECONDS)
        where = f"on target {self.name!r}"
        if done is None or (done.code not in {0, scripts.DAMAGED, scripts.REFUSED} and not self.connection.alive):
            raise ConnectionLost(
                f"the agent could not be sent: {where}: the connection broke or stood still: run again"
            )
        if done.code == 0:
            return
        last = done.err.decode("utf-8", "replace").split("\n")[-3:]
        said = " | ".join(clean(line, QUOTED) for line in last).strip(" |")
        if done.code == scripts.DAMAGED:
            raise ConnectionLost(f"the agent arrived damaged and was deleted: {where}: run again")
        if "No space left" in said or "quota" in said.lower():
            raise LabError(
                f"the disk of the store is full: {where}: {said}: free space there, or set store to a larger disk"
            )
        if done.code == scripts.REFUSED:
            raise LabError(f"the store cannot be written: {where}: {said}: set store to a folder of yours")
        raise TargetUnreachable(f"the agent could not be sent (code {done.code}): {where}: {said}: see its login shell")


def _checked(text: str, key: str, name: str) -> str:
    """A path or name that may be an argument of a script there. Raises ``UserError``."""
    what = None
    if CONTROL.search(text) or text.startswith("-"):
        what = "is no path"
    elif key == "store" and text and not text.startswith(("/", "~/")):
        what = "is neither absolute nor in the home folder"
    if what:
        raise UserError(f"{key} {text!r} {what}: on target {name!r}: write it as /…, or as ~/…")
    return text
