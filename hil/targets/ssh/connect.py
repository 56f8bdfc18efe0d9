"""Opens an SSH connection through one or more hops: verifies each host key, and limits the time of each step."""

from __future__ import annotations

import contextlib
import threading
from typing import TYPE_CHECKING

import paramiko

from hil.errors import TargetUnreachable
from hil.targets.ssh.handshake import exchange_keys, transport_over
from hil.targets.ssh.hop_stream import dial, tunnel
from hil.targets.ssh.host_key_check import judge
from hil.targets.ssh.known_hosts import known_keys, revoked_keys
from hil.targets.ssh.login import log_in
from hil.targets.ssh.proxy_command import ProxyCommand
from hil.targets.ssh.ssh_errors import ConnectionLost

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from socket import socket

    from hil.targets.ssh.config.hop import Hop
    from hil.targets.ssh.frame_channel import Tunnel

KEEPALIVE = 10.0


class Connection:
    """An open connection to the last of ``hops``, the machine under test; ``target`` is its name in messages.

    ``timeout`` (seconds) limits each step: TCP, key exchange, each login. The kernel closes the connection if sent data
    stays unacknowledged for ``silence`` seconds.
    """

    def __init__(self, target: str, hops: Sequence[Hop], timeout: float, silence: float) -> None:
        """Connect to each hop in turn. If that fails, close every socket, and raise an error of ``ssh_errors``.

        Raise ``LabError`` for an unreadable list of host keys, ``UserError`` for a ProxyCommand that cannot be run.
        """
        self.target = target
        self.hops = hops
        self.timeout = timeout
        self.silence = silence
        self._transports: list[paramiko.Transport] = []
        self._proxy: ProxyCommand | None = None
        try:
            for hop in hops:
                self._step(hop)
        except BaseException:
            self.close()
            raise

    @property
    def alive(self) -> bool:
        """Whether the connection to each hop is still up."""
        return bool(self._transports) and all(transport.is_active() for transport in self._transports)

    def where(self, hop: Hop) -> str:
        """Return the address of ``hop`` and the target's name, for a message."""
        jump = "" if hop is self.hops[-1] else f" (the jump host {hop.name})"
        return f"{hop}{jump}: on target {self.target!r}"

    def close(self) -> None:
        """Close every hop, the last first, without waiting for the other side. May be called twice."""
        while self._transports:
            transport = self._transports.pop()
            transport.close()
            transport.sock.close()
        if self._proxy is not None:
            self._proxy.close()
            self._proxy = None

    def execute(self, command: str) -> paramiko.Channel:
        """Start ``command`` in the account's login shell, and return its channel. Raises ``ConnectionLost``."""
        with self._ssh_errors(), self._deadline() as watched:
            channel = self._transports[-1].open_session(timeout=self.timeout)
            watched.append(channel)
            channel.exec_command(command)
            return channel

    @contextlib.contextmanager
    def _ssh_errors(self) -> Iterator[None]:
        try:
            yield
        except (paramiko.SSHException, EOFError, OSError, IndexError) as error:
            what = f"no command can be started on {self.where(self.hops[-1])}"
            raise ConnectionLost(f"{what}: {error or 'the connection was lost'}: run again") from None

    @contextlib.contextmanager
    def _deadline(self) -> Iterator[list[paramiko.Channel]]:
        """Yield a list: channels that the caller adds to it are closed after ``timeout``, or if the context raises."""
        watched: list[paramiko.Channel] = []
        timer = threading.Timer(self.timeout, lambda: [channel.close() for channel in watched])
        timer.daemon = True
        timer.start()
        try:
            yield watched
        except BaseException:
            for channel in watched:
                channel.close()
            raise
        finally:
            timer.cancel()

    def _step(self, hop: Hop) -> None:
        known = known_keys(hop.known_as, hop.known_hosts)
        known.revoked |= revoked_keys(hop.revoked)
        before = self.hops[len(self._transports) - 1] if self._transports else None
        where = self.where(hop)
        if before is not None:
            sock: socket | Tunnel = tunnel(self._transports[-1], before, hop, where, self.timeout)
        elif hop.proxy:
            self._proxy = ProxyCommand(hop, where)
            sock = self._proxy.sock
        else:
            sock = dial(hop, where, self.timeout, self.silence)
        transport = transport_over(sock, self.timeout, known, hop)
        self._transports.append(transport)
        try:
            exchange_keys(transport, self.timeout, lambda what: f"{what}: cannot reach {where}")
        except TargetUnreachable:
            if before is None and self._proxy is not None:
                self._proxy.raise_if_ended()
            raise
        judge(hop, transport.get_remote_server_key().asbytes(), known, where, before)
        log_in(transport, hop, where)
        transport.set_keepalive(min(KEEPALIVE, self.silence / 3))
