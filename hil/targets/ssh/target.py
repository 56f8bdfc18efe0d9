"""``kind = "ssh"``: one connection a target, and on it its agents and commands."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING

from hil.errors import UserError
from hil.targets.ssh.config import route
from hil.targets.ssh.connect import Connection
from hil.targets.ssh.install_agent import Provision
from hil.targets.ssh.remote_process import run
from hil.targets.target import Done, Target

if TYPE_CHECKING:
    from collections.abc import Sequence

    from hil.config.spec import TargetSpec
    from hil.targets.client import AgentClient


class SshTarget(Target):
    """A machine across a network. The connection is made when it is needed and goes with the last agent on it."""

    kind = "ssh"

    def __init__(self, name: str, spec: TargetSpec) -> None:
        """Reaches nothing yet, and reads no config."""
        super().__init__(name, spec)
        self._lock = threading.RLock()
        self._connection: Connection | None = None
        self._agents = 0

    def connection(self) -> Connection:
        """The open connection, or a new one. Raises a class of ``hil.targets.ssh.ssh_errors``, or ``UserError``."""
        with self._lock:
            if self._connection is None or not self._connection.alive:
                self.close()
                hops = route(self.name, self.spec)
                self._connection = Connection(self.name, hops, self.spec.connect_timeout, self.spec.silence)
            return self._connection

    def start_agent(self) -> AgentClient:
        """Starts an agent there; brings it there first if need be."""
        with self._lock:
            try:
                connection = self.connection()
                agent, process = Provision(connection, self.name, self.spec).start()
            except BaseException:
                if not self._agents:
                    self.close()
                raise
            self._agents += 1
            process.at_end = lambda: self._left(connection)
            return agent

    def run(self, argv: Sequence[str], stdin: bytes = b"", timeout: float = 60.0) -> Done:
        """Runs one command on the machine."""
        try:
            done = run(self.connection(), argv, stdin, timeout)
        except ValueError as error:
            raise UserError(f"{argv[0]!r} cannot be run: {error}: on target {self.name!r}: leave it out") from None
        except OverflowError as error:
            raise self.too_much(argv, error) from None
        if done is None:
            raise self.overdue(argv, timeout)
        return done

    def close(self) -> None:
        """Closes the connection, and with it every agent and command on it."""
        with self._lock:
            connection, self._connection = self._connection, None
            self._agents = 0
            if connection is not None:
                connection.close()

    def _left(self, connection: Connection) -> None:
        """One of the agents on ``connection`` ended."""
        with self._lock:
            if connection is self._connection:
                self._agents -= 1
                if self._agents <= 0:
                    self.close()
