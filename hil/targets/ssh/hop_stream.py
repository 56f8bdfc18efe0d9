"""The stream of bytes to a hop: over TCP, or through the hop before it."""

from __future__ import annotations

import socket
from typing import TYPE_CHECKING

import paramiko

from hil.targets.ssh.frame_channel import Tunnel
from hil.targets.ssh.ssh_errors import NoAnswer, PortClosed, UnknownHost

if TYPE_CHECKING:
    from hil.targets.ssh.config import Hop


def dial(hop: Hop, where: str, timeout: float, silence: float) -> socket.socket:
    """A TCP connection. Raises ``UnknownHost``, ``PortClosed`` or ``NoAnswer``.

    What stays without acknowledgement for ``silence`` seconds makes the kernel give it up.
    """
    try:
        sock = socket.create_connection((hop.host, hop.port), timeout)
    except (socket.gaierror, UnicodeError):
        raise UnknownHost(
            f"{hop.host} is no known host name: cannot reach {where}: correct host, or give its address"
        ) from None
    except ConnectionRefusedError:
        raise PortClosed(
            f"nothing listens at {where}: start its SSH server (`sudo systemctl start ssh`), or correct port"
        ) from None
    except TimeoutError:
        raise NoAnswer(
            f"no answer within {timeout:g} s from {where}: see that it is switched on and that no firewall is "
            "between, or raise connect_timeout"
        ) from None
    except OSError as error:
        raise NoAnswer(f"{error.strerror}: cannot reach {where}: see to the network") from None
    sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    # Else a link that went away is only noticed after some 15 minutes (tcp(7): tcp_retries2).
    sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, int(silence * 1000))
    return sock


def tunnel(over: paramiko.Transport, before: Hop, hop: Hop, where: str, timeout: float) -> Tunnel:
    """A channel from the hop ``before``, which ``over`` leads to. Raises ``PortClosed`` or ``NoAnswer``."""
    try:
        channel = over.open_channel("direct-tcpip", (hop.host, hop.port), ("127.0.0.1", 0), timeout=timeout)
    except paramiko.ChannelException as error:
        raise PortClosed(
            f"the jump host {before.name} cannot connect to {where}: {error.text}: "
            f"try `ssh {before.name}` and see from there"
        ) from None
    except (paramiko.SSHException, EOFError) as error:
        raise NoAnswer(
            f"the jump host {before.name} has no answer from {where}: {str(error) or 'it went away'}: "
            "see that it is switched on, or raise connect_timeout"
        ) from None
    return Tunnel(channel)
