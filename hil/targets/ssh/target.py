"""Implements targets of ``kind = "ssh"``: one connection per target carries all its agents and commands."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING

from hil.errors import UserError
from hil.targets.ssh.config import route
from hil.targets.ssh.connect import Connection
from hil.targets.ssh.install_agent import AgentInstaller
from hil.targets.ssh.remote_process import run
from hil.targets.target import Done, Target

if TYPE_CHECKING:
    from collections.abc import Sequence

    from hil.config.spec import TargetSpec
    from hil.targets.client import AgentClient


class SshTarget(Target):
    """A machine reached over SSH. Connects on first use; the connection is closed when its last agent ends."""

    kind = "ssh"

    def __init__(self, name: str, spec: TargetSpec) -> None:
        """Connect to nothing and read no SSH config yet."""
        super().__init__(name, spec)
        self._lock = threading.RLock()
        self._connection: Connection | None = None
        self._agents = 0

    def connection(self) -> Connection:
        """Return the connection; open it if necessary. Raises ``LabError`` (see ``ssh_errors``) or ``UserError``."""
        with self._lock:
            if self._connection is None or not self._connection.alive:
                self.close()
                hops = route(self.name, self.spec)
                self._connection = Connection(self.name, hops, self.spec.connect_timeout, self.spec.silence)
            return self._connection

    def start_agent(self) -> AgentClient:
        """Start an agent on the machine; install it first if necessary."""
        with self._lock:
            try:
                connection = self.connection()
                agent, process = AgentInstaller(connection, self.name, self.spec).start()
            except BaseException:
                if not self._agents:
                    self.close()
                raise
            self._agents += 1
            process.at_end = lambda: self._agent_ended(connection)
            return agent

    def run(self, argv: Sequence[str], stdin: bytes = b"", timeout: float = 60.0) -> Done:
        """Run one command on the machine, as ``Target.run`` describes.

        Raises ``UserError`` if ``argv`` has a null byte or the SSH config is unusable.
        """
        try:
            done = run(self.connection(), argv, stdin, timeout)
        except ValueError as error:
            raise UserError(f"{argv[0]!r} cannot be run: {error}: on target {self.name!r}: remove that byte") from None
        except OverflowError as error:
            raise self.too_much(argv, error) from None
        if done is None:
            raise self.overdue(argv, timeout)
        return done

    def close(self) -> None:
        """Close the connection, which ends its agents and commands."""
        with self._lock:
            connection, self._connection = self._connection, None
            self._agents = 0
            if connection is not None:
                connection.close()

    def _agent_ended(self, connection: Connection) -> None:
        """Note that an agent on ``connection`` ended; close the connection after the last one."""
        with self._lock:
            if connection is self._connection:
                self._agents -= 1
                if self._agents <= 0:
                    self.close()
