"""Starts the agent on a remote machine, and installs it there if it is not installed."""

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
from hil.targets.ssh.start_failures import parse_facts
from hil.targets.start_agent import agent_arguments
from hil.targets.words import QUOTED
from hil.text import clean

if TYPE_CHECKING:
    from hil.config.spec import TargetSpec
    from hil.targets.ssh.connect import Connection

UPLOAD_SECONDS = 120.0
INSPECT_SECONDS = 30.0
CONTROL = re.compile(r"[\x00-\x1f\x7f]")


class AgentInstaller:
    """Installs and starts the agent on one machine; ``digest`` is the SHA-256 of this version's agent archive."""

    def __init__(self, connection: Connection, name: str, spec: TargetSpec) -> None:
        """Raise ``UserError`` if ``store`` or ``python`` of the spec is malformed."""
        self.connection = connection
        self.name = name
        self.spec = spec
        self.store = _checked(spec.store or "", "store", name)
        self.python = _checked(spec.python or "python3", "python", name)
        self.archive = agent_bytes()
        self.digest = hashlib.sha256(self.archive).hexdigest()

    def start(self) -> tuple[AgentClient, SshProcess]:
        """Start an agent, wait for its greeting, and return the agent and its process.

        Raises ``TargetUnreachable`` if no agent can be started, ``LabError`` if the store is unusable.
        """
        for uploaded in (False, True):
            process = SshProcess(self.connection, self._script(scripts.START), GREETING_PATIENCE)
            try:
                return AgentClient(Link(process, self.name, self.spec.silence), self.digest), process
            except TargetUnreachable as error:
                if process.code == scripts.ABSENT and not uploaded:
                    self._upload()
                    continue
                raise TargetUnreachable(self._failure(process.code) or str(error)) from None
        raise AssertionError("the second attempt returns or raises")

    def _script(self, script: str) -> str:
        arguments = agent_arguments(self.spec) if script is scripts.START else []
        return shell(script, self.store, self.digest, self.python, *arguments)

    def _failure(self, code: int | None) -> str | None:
        """Examine the machine, and return a message about why the agent did not start; ``None`` if no reason is known.

        ``code`` is the exit code of ``scripts.START``; ``None`` if it did not end.
        """
        where = f"on target {self.name!r}"
        if not self.connection.alive:
            return f"the connection was lost while the agent started: {where}: run again"
        if code == scripts.ABSENT:
            advice = "find what deletes files from the store, or set store to another folder"
            return f"the agent was sent, but its file is gone: {where}: {advice}"
        done = finish(SshProcess(self.connection, self._script(scripts.INSPECT), None), b"", INSPECT_SECONDS)
        return start_failures.failure_message(self.python, parse_facts(done.out), self.name) if done else None

    def _upload(self) -> None:
        """Send the agent's archive to the machine's store.

        Raises ``LabError`` if the store cannot be written, ``TargetUnreachable`` if sending fails for another reason.
        """
        process = SshProcess(self.connection, self._script(scripts.UPLOAD), None)
        done = finish(process, self.archive, UPLOAD_SECONDS)
        where = f"on target {self.name!r}"
        if done is None or (done.code not in {0, scripts.DAMAGED, scripts.REFUSED} and not self.connection.alive):
            raise ConnectionLost(f"the agent could not be sent: {where}: the connection broke or stalled: run again")
        if done.code == 0:
            return
        last = done.err.decode("utf-8", "replace").split("\n")[-3:]
        stderr = " | ".join(clean(line, QUOTED) for line in last).strip(" |")
        if done.code == scripts.DAMAGED:
            raise ConnectionLost(f"the agent arrived damaged and was deleted: {where}: run again")
        if "No space left" in stderr or "quota" in stderr.lower():
            raise LabError(
                f"the disk of the store is full: {where}: {stderr}: free space there, or set store to a larger disk"
            )
        if done.code == scripts.REFUSED:
            raise LabError(f"the store cannot be written: {where}: {stderr}: set store to a writable folder")
        raise TargetUnreachable(
            f"the agent could not be sent (code {done.code}): {where}: {stderr}: check the login shell of its account"
        )


def _checked(text: str, key: str, name: str) -> str:
    """Return ``text``, the value of the target's key ``key``. Raise ``UserError`` if the scripts cannot use it.

    It may not begin with ``-`` or have control characters; a ``store`` must be empty, absolute or in ``~/``.
    """
    what = None
    if CONTROL.search(text) or text.startswith("-"):
        what = "is not a path"
    elif key == "store" and text and not text.startswith(("/", "~/")):
        what = "is neither absolute nor in the home folder"
    if what:
        raise UserError(f"{key} {text!r} {what}: on target {name!r}: write it as /… or ~/…")
    return text
