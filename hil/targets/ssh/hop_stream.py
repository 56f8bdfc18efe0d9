"""Opens the byte stream to a hop: over TCP to the first hop, otherwise through the hop before."""

from __future__ import annotations

import contextlib
import socket
from typing import TYPE_CHECKING

import paramiko

from hil.targets.ssh.frame_channel import Tunnel
from hil.targets.ssh.ssh_errors import NoAnswer, PortClosed, UnknownHost

if TYPE_CHECKING:
    from hil.targets.ssh.config.hop import Hop

FAMILIES = {"inet": socket.AF_INET, "inet6": socket.AF_INET6}


def dial(hop: Hop, where: str, timeout: float, silence: float) -> socket.socket:
    """Open a TCP connection to ``hop``. Raises ``UnknownHost``, ``PortClosed`` or ``NoAnswer``.

    ``timeout`` (seconds) limits the attempt at each address; ``where`` is ``hop`` in messages.

    The kernel closes the connection if sent data stays unacknowledged for ``silence`` seconds.
    """
    try:
        sock = _connected(hop, timeout)
    except (socket.gaierror, UnicodeError):
        raise UnknownHost(
            f"{hop.host} is not a known host name: cannot reach {where}: correct host, or use its address"
        ) from None
    except ConnectionRefusedError:
        raise PortClosed(
            f"nothing listens at {where}: start its SSH server (`sudo systemctl start ssh`), or set port to that of "
            "its SSH server"
        ) from None
    except TimeoutError:
        raise NoAnswer(
            f"no answer within {timeout:g} s from {where}: check that it is switched on and not behind a firewall, "
            "or raise connect_timeout"
        ) from None
    except OSError as error:
        raise NoAnswer(f"{error.strerror}: cannot reach {where}: check the network") from None
    sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    # Without this option a broken link is noticed only after about 15 minutes (tcp(7): tcp_retries2).
    sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, int(silence * 1000))
    return sock


def _connected(hop: Hop, timeout: float) -> socket.socket:
    """Return a connection to the first address of ``hop`` that accepts one.

    Only addresses of ``hop.family`` are tried, from the local address ``hop.bind``. Raise the last address's error.
    """
    source = (hop.bind, 0) if hop.bind else None
    family = FAMILIES.get(hop.family)
    if family is None:
        return socket.create_connection((hop.host, hop.port), timeout, source)
    found = socket.getaddrinfo(hop.host, hop.port, family, socket.SOCK_STREAM)
    for *_, address in found[:-1]:
        with contextlib.suppress(OSError):
            return socket.create_connection((str(address[0]), hop.port), timeout, source)
    return socket.create_connection((str(found[-1][-1][0]), hop.port), timeout, source)


def tunnel(over: paramiko.Transport, before: Hop, hop: Hop, where: str, timeout: float) -> Tunnel:
    """Open a channel to ``hop`` from the hop ``before``, whose transport is ``over``, within ``timeout`` seconds.

    ``where`` is ``hop`` in messages. Raises ``PortClosed`` or ``NoAnswer``.
    """
    try:
        channel = over.open_channel("direct-tcpip", (hop.host, hop.port), ("127.0.0.1", 0), timeout=timeout)
    except paramiko.ChannelException as error:
        raise PortClosed(
            f"the jump host {before.name} cannot connect to {where}: {error.text}: "
            f"run `ssh {before.name}` and try to reach it from there"
        ) from None
    except (paramiko.SSHException, EOFError) as error:
        raise NoAnswer(
            f"the jump host {before.name} got no answer from {where}: {str(error) or 'the connection was lost'}: "
            "check that it is switched on, or raise connect_timeout"
        ) from None
    return Tunnel(channel)
