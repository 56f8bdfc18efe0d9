"""Keys of both sides, and the server's own command line."""

from __future__ import annotations

import subprocess
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pathlib import Path

SERVER = ["/usr/sbin/sshd", "-D", "-e"]


@dataclass(frozen=True)
class KeyPair:
    """A key file with its public half beside it."""

    private: Path

    @property
    def public(self) -> str:
        """``ssh-ed25519 AAAA…``, with a newline."""
        return self.private.with_suffix(".pub").read_text(encoding="ascii")


def key_pair(place: Path) -> KeyPair:
    """A new pair at ``place``."""
    place.unlink(missing_ok=True)
    argv = ("ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-C", "test", "-f", str(place))
    subprocess.run(argv, check=True, capture_output=True)
    return KeyPair(place)


def known_line(host: str, port: int, key: KeyPair) -> str:
    """A line of ``known_hosts``."""
    name = host if port == 22 else f"[{host}]:{port}"
    return f"{name} {' '.join(key.public.split()[:2])}\n"
