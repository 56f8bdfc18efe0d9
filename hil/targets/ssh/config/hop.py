"""Describes one machine on the SSH route to a target."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

ALGORITHMS = {
    "kex": ("kexalgorithms",),
    "ciphers": ("ciphers",),
    "macs": ("macs",),
    "host keys": ("hostkeyalgorithms",),
    "logins": ("pubkeyacceptedalgorithms", "pubkeyacceptedkeytypes"),  # the second: before OpenSSH 8.5
}


@dataclass(frozen=True)
class Hop:
    """One machine on the route to a target: its address, the login, and the files that its host key is checked with.

    Attributes:
        name: the name that the user wrote.
        identities: private key files.
        chosen: whether the user named these files; if not, they are OpenSSH's usual ones.
        only: whether keys that only the SSH agent holds must not be tried.
        known_as: the host's name in ``known_hosts``.
        known_hosts: files of known host keys; a new key belongs in the first.
        revoked: a file of revoked host keys.
        certificates: files with certificates of the keys, besides those next to the key files.
        proxy: the command whose input and output are the connection, for a shell.
        agent: the socket of the SSH agent; ``None`` stands for that of SSH_AUTH_SOCK, an empty text for no agent.
        family: the family of addresses, ``inet`` or ``inet6``; any other text stands for both.
        bind: the local address to connect from.
        algorithms: the algorithms that the config allows, by the keys of ``ALGORITHMS``; all if a key is missing.
    """

    name: str
    host: str
    port: int
    user: str
    identities: tuple[Path, ...]
    chosen: bool
    only: bool
    known_as: str
    known_hosts: tuple[Path, ...]
    revoked: Path | None = None
    certificates: tuple[Path, ...] = ()
    proxy: str | None = None
    agent: str | None = None
    family: str = "any"
    bind: str | None = None
    algorithms: Mapping[str, Sequence[str]] = field(default_factory=dict)

    def __str__(self) -> str:
        return f"{self.host} port {self.port}"

    def allowed(self, kind: str, algorithms: Sequence[str]) -> list[str]:
        """Return those of ``algorithms`` that the config allows; ``kind`` is a key of ``ALGORITHMS``."""
        mine = self.algorithms.get(kind)
        return [name for name in algorithms if mine is None or name in mine]
