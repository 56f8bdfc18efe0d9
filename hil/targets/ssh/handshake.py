"""Greeting and key exchange with whatever listens, each within its time."""

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
    from hil.targets.ssh.frame_channel import Tunnel
    from hil.targets.ssh.known_hosts import Known

WINDOW = 32 << 20  # what may be under way to us: 6 Gbit/s at 40 ms
PACKET = 128 << 10
"""The largest packet we take. Measured on one machine with OpenSSH 9.2: 32 KiB 96 to 190 MB/s, 128 KiB 320 MB/s;
sshd sends none beyond 256 KiB (packet.h: PACKET_MAX_SIZE)."""
CIPHERS = ("aes128-gcm@openssh.com", "aes256-gcm@openssh.com", "aes128-ctr", "aes192-ctr", "aes256-ctr")
"""Measured, sending through one channel to `cat` of the same machine: aes128-gcm 480 to 610 MB/s, aes256-gcm 410,
aes128-ctr with hmac-sha2-256 (paramiko's default) 460 to 530. The rest is for servers without GCM."""
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
"""Of host keys, and of the keys we log in with: no SHA-1 (RFC 9142, RFC 8332). As what is above it is all that is
offered, whatever this version of paramiko would offer of its own; what it does not know is left out."""
LOG = "hil.ssh"


class _Packets(Packetizer):  # type: ignore[misc]  # paramiko ships no types
    """Without paramiko's timer of the handshake: it is a thread that would keep a process alive; we wait ourselves."""

    def start_handshake(self, timeout: float) -> None:
        """Nothing."""


def transport_over(sock: socket | Tunnel, timeout: float, known: Known) -> paramiko.Transport:
    """A transport with our choices, which has said nothing yet; closes ``sock`` if there can be none."""
    logger = logging.getLogger(LOG)
    logger.propagate = False  # paramiko logs what we tell in one message, with tracebacks
    if not logger.handlers:
        logger.addHandler(logging.NullHandler())
    try:
        transport = paramiko.Transport(
            sock, default_window_size=WINDOW, default_max_packet_size=PACKET, packetizer_class=_Packets
        )
    except BaseException:
        sock.close()
        raise
    transport.set_log_channel(LOG)
    # Ours is the deadline of greeting and key exchange together; paramiko's must not come first.
    transport.banner_timeout = 3 * timeout
    transport.auth_timeout = transport.channel_timeout = timeout
    options = transport.get_security_options()
    options.ciphers = [cipher for cipher in CIPHERS if cipher in options.ciphers]
    options.digests = [mac for mac in MACS if mac in options.digests]
    options.kex = [kex for kex in KEX if kex in options.kex]
    options.key_types = host_key_check.preferred(known, [name for name in SIGNATURES if name in options.key_types])
    # What we sign our own logins with has no option of its own.
    offered = transport.preferred_pubkeys
    transport.disabled_algorithms = {"pubkeys": [name for name in offered if name not in SIGNATURES]}
    return transport


def exchange_keys(transport: paramiko.Transport, timeout: float, told: Callable[[str], str]) -> None:
    """Greeting, then key exchange, within twice ``timeout`` seconds.

    ``told`` puts a place behind what happened. Raises ``NotSsh``, ``NoAnswer`` or ``ConnectionLost``.
    """
    done = threading.Event()
    transport.start_client(event=done)
    finished = done.wait(2 * timeout)
    if finished and transport.is_active():
        return
    said = clean(transport.remote_version, QUOTED)
    if finished:
        raise _why(transport.get_exception(), said, told)
    if said:
        raise NoAnswer(f"{told(f'{said} began and went silent')}: see to the network, or restart sshd")
    raise NotSsh(f"{told(f'whoever listens has not said within {2 * timeout:g} s that it speaks SSH')}: correct port")


def _why(error: Exception | None, said: str, told: Callable[[str], str]) -> TargetUnreachable:
    """Why no key exchange came about."""
    reason = clean(str(error or "").replace("Error reading SSH protocol banner", ""), QUOTED)
    because = f" ({reason})" if reason else ""
    if isinstance(error, paramiko.IncompatiblePeer):
        return NotSsh(f"{told(f'no common way to encrypt{because}')}: update its SSH server")
    if said:
        return ConnectionLost(f"{told(f'the connection was lost during the key exchange{because}')}: run again")
    if "Indecipherable" in reason:
        return NotSsh(f"{told(f'what listens does not speak SSH{because}')}: correct port")
    what = told(f"the connection was closed before any greeting{because}")
    return NotSsh(
        f"{what}: it may take no more logins at the moment (MaxStartups), or be no SSH server: see its log, or "
        "correct port"
    )
