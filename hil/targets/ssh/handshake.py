"""Performs the SSH greeting and key exchange, with a time limit."""

from __future__ import annotations

import logging
import threading
from typing import TYPE_CHECKING

import paramiko
from paramiko.packet import Packetizer

from hil.targets.ssh import host_key_check
from hil.targets.ssh.ssh_errors import ConnectionLost, NoAnswer, NotSsh
from hil.targets.words import QUOTED
from hil.text import clean

if TYPE_CHECKING:
    from collections.abc import Callable
    from socket import socket

    from hil.errors import TargetUnreachable
    from hil.targets.ssh.config.hop import Hop
    from hil.targets.ssh.frame_channel import Tunnel
    from hil.targets.ssh.known_hosts import Known

WINDOW = 32 << 20  # bytes in flight to us: 6 Gbit/s at a round trip of 40 ms
PACKET = 128 << 10
"""Bytes of the largest packet that we accept. Measured on one machine with OpenSSH 9.2: 96 to 190 MB/s with
32 KiB, 320 MB/s with 128 KiB. sshd sends none larger than 256 KiB (packet.h: PACKET_MAX_SIZE)."""
CIPHERS = ("aes128-gcm@openssh.com", "aes256-gcm@openssh.com", "aes128-ctr", "aes192-ctr", "aes256-ctr")
"""Fastest first. Measured through one channel to `cat` on the same machine: aes128-gcm 480 to 610 MB/s, aes256-gcm 410,
aes128-ctr with hmac-sha2-256 (paramiko's default) 460 to 530. The others are for servers without GCM."""
MACS = (
    *("hmac-sha2-256-etm@openssh.com", "hmac-sha2-512-etm@openssh.com"),
    *("hmac-sha2-256", "hmac-sha2-512"),
)
KEX = (
    *("mlkem768x25519-sha256", "curve25519-sha256@libssh.org"),
    *("ecdh-sha2-nistp256", "ecdh-sha2-nistp384", "ecdh-sha2-nistp521"),
    *("diffie-hellman-group16-sha512", "diffie-hellman-group-exchange-sha256", "diffie-hellman-group14-sha256"),
)
SIGNATURES = (
    *("ssh-ed25519", "ecdsa-sha2-nistp256", "ecdsa-sha2-nistp384", "ecdsa-sha2-nistp521"),
    *("rsa-sha2-512", "rsa-sha2-256"),
)
"""Signature algorithms of host keys and of login keys: no SHA-1 (RFC 9142, RFC 8332). Only the algorithms of these
four tables are offered, whatever paramiko's defaults; those that this version of paramiko lacks are left out."""
OFFERED = {"kex": KEX, "ciphers": CIPHERS, "macs": MACS, "host keys": SIGNATURES, "logins": SIGNATURES}
LOG = "hil.ssh"


class _Packets(Packetizer):  # type: ignore[misc]  # paramiko ships no types
    """paramiko's packet reader without a handshake timer; ``exchange_keys`` limits the time instead."""

    def start_handshake(self, timeout: float) -> None:
        """Start no timer."""


def transport_over(sock: socket | Tunnel, timeout: float, known: Known, hop: Hop) -> paramiko.Transport:
    """Return a transport over ``sock`` that has sent nothing yet. If this raises, ``sock`` is closed.

    It offers only the algorithms in this module's tables that the SSH config allows for ``hop``. ``timeout`` (seconds)
    limits each later step.
    """
    logger = logging.getLogger(LOG)
    logger.propagate = False  # paramiko logs the errors that we report in one message, with tracebacks
    if not logger.handlers:
        logger.addHandler(logging.NullHandler())
    try:
        transport = paramiko.Transport(
            sock, default_window_size=WINDOW, default_max_packet_size=PACKET, packetizer_class=_Packets
        )
        _offer(transport, known, hop)
    except BaseException:
        sock.close()
        raise
    transport.set_log_channel(LOG)
    # exchange_keys has one deadline for greeting and key exchange together; paramiko's must not expire before it.
    transport.banner_timeout = 3 * timeout
    transport.auth_timeout = transport.channel_timeout = timeout
    return transport


def _offer(transport: paramiko.Transport, known: Known, hop: Hop) -> None:
    options = transport.get_security_options()
    options.ciphers = hop.allowed("ciphers", [cipher for cipher in CIPHERS if cipher in options.ciphers])
    options.digests = hop.allowed("macs", [mac for mac in MACS if mac in options.digests])
    options.kex = hop.allowed("kex", [kex for kex in KEX if kex in options.kex])
    host_keys = hop.allowed("host keys", [name for name in SIGNATURES if name in options.key_types])
    options.key_types = host_key_check.preferred(known, host_keys)
    # The algorithms of login signatures have no security option of their own.
    offered = transport.preferred_pubkeys
    logins = hop.allowed("logins", SIGNATURES)
    transport.disabled_algorithms = {"pubkeys": [name for name in offered if name not in logins]}


def exchange_keys(transport: paramiko.Transport, timeout: float, located: Callable[[str], str]) -> None:
    """Receive the greeting and exchange keys, within twice ``timeout`` seconds.

    ``located`` returns a message with the host's address appended. Raises ``NotSsh``, ``NoAnswer`` or
    ``ConnectionLost``.
    """
    done = threading.Event()
    transport.start_client(event=done)
    finished = done.wait(2 * timeout)
    if finished and transport.is_active():
        return
    version = clean(transport.remote_version, QUOTED)
    if finished:
        raise _failure(transport.get_exception(), version, located)
    if version:
        raise NoAnswer(f"{located(f'{version} stopped answering')}: check the network, or restart sshd")
    raise NotSsh(
        f"{located(f'the server sent no SSH greeting within {2 * timeout:g} s')}: set port to that of its SSH server"
    )


def _failure(error: Exception | None, version: str, located: Callable[[str], str]) -> TargetUnreachable:
    """Return the error of a key exchange that failed."""
    reason = clean(str(error or "").replace("Error reading SSH protocol banner", ""), QUOTED)
    because = f" ({reason})" if reason else ""
    if isinstance(error, paramiko.IncompatiblePeer):
        return NotSsh(f"{located(f'no common encryption algorithm{because}')}: update its SSH server")
    if version:
        return ConnectionLost(f"{located(f'the connection was lost during the key exchange{because}')}: run again")
    if "Indecipherable" in reason:
        return NotSsh(f"{located(f'the server does not speak SSH{because}')}: set port to that of its SSH server")
    what = located(f"the connection was closed before any greeting{because}")
    return NotSsh(
        f"{what}: the server may have too many logins in progress (MaxStartups), or not be an SSH server: see its "
        "log, or set port to that of its SSH server"
    )
