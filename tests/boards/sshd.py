"""SSH keys of both sides, and the server's command line."""

from __future__ import annotations

import subprocess
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pathlib import Path

SERVER = ["/usr/sbin/sshd", "-D", "-e"]


@dataclass(frozen=True)
class KeyPair:
    """A private key file, with the public key next to it."""

    private: Path

    @property
    def public(self) -> str:
        """The public key: ``ssh-ed25519 AAAA…``, with a newline."""
        return self.private.with_suffix(".pub").read_text(encoding="ascii")


def key_pair(place: Path) -> KeyPair:
    """Generate a key pair at ``place``."""
    place.unlink(missing_ok=True)
    argv = ("ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-C", "test", "-f", str(place))
    subprocess.run(argv, check=True, capture_output=True)
    return KeyPair(place)


def known_line(host: str, port: int, key: KeyPair) -> str:
    """Return the line of ``known_hosts`` for this key."""
    name = host if port == 22 else f"[{host}]:{port}"
    return f"{name} {' '.join(key.public.split()[:2])}\n"
