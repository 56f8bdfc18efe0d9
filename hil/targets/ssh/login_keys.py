"""Keys to log in with: private key files, and what the user's SSH agent holds. Never a password, never a passphrase."""

from __future__ import annotations

import base64
import binascii
import re
import shlex
from typing import TYPE_CHECKING

import paramiko

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from hil.targets.ssh.agent import Holder
    from hil.targets.ssh.config import Hop

OPENSSH = b"openssh-key-v1\0"  # PROTOCOL.key of OpenSSH
ARMOUR = re.compile(rb"-----BEGIN ([A-Z0-9 ]*)PRIVATE KEY-----(.*?)-----END", re.DOTALL)
Candidate = tuple[paramiko.PKey, str]


class Keys:
    """The keys that may be tried for one hop, best first; ``notes`` say why one could not be."""

    def __init__(self, hop: Hop, agent: Holder) -> None:
        """``agent`` is the user's SSH agent."""
        self.hop = hop
        self.agent = agent
        self.given: set[bytes] = set()
        self.notes: list[str] = []

    def candidates(self) -> Iterator[Candidate]:
        """Each key with its name in words; named files first: servers take few attempts, agents may hold many."""
        if self.hop.chosen or self.hop.only:
            yield from self._files()
            if not self.hop.only:
                yield from self._others()
        else:
            yield from self._others()
            yield from self._files()

    def _others(self) -> Iterator[Candidate]:
        for blob, key in self.agent.keys().items():
            if blob not in self.given:
                yield key, "a key of the SSH agent"

    def _files(self) -> Iterator[Candidate]:
        for path in self.hop.identities:
            try:
                content = path.read_bytes()
            except OSError as error:
                if self.hop.chosen or not isinstance(error, FileNotFoundError):
                    self.notes.append(f"{path}: {error.strerror}")
                continue
            blob, own = public_part(content, path), self._loaded(path, content)
            held = None if own is not None else self.agent.keys().get(blob)
            if own is not None or held is not None:
                self.given.add(blob)
            if own is not None:
                yield own, str(path)
            elif held is not None:
                yield held, f"{path}, through the SSH agent"
            elif is_encrypted(content):
                self.notes.append(
                    f"{path} is encrypted and the SSH agent does not hold it: run {shlex.join(['ssh-add', str(path)])}"
                )
            else:
                self.notes.append(f"{path} is no private key that can be used")

    def _loaded(self, path: Path, content: bytes) -> paramiko.PKey | None:
        """The private key in a file; ``None`` where it needs a passphrase, or is none."""
        if is_encrypted(content):
            return None
        try:
            return paramiko.PKey.from_path(str(path))
        except (ValueError, TypeError, OSError, paramiko.SSHException, paramiko.UnknownKeyType):
            return None


def is_encrypted(content: bytes) -> bool:
    """Whether a private key file needs a passphrase."""
    found = ARMOUR.search(content)
    if found is None:
        return False
    if found[1].startswith(b"ENCRYPTED") or b"Proc-Type: 4,ENCRYPTED" in found[2]:
        return True
    body = _openssh_body(found[2])
    return body is not None and _strings(body, 1)[0] != b"none"


def public_part(content: bytes, path: Path) -> bytes:
    """The public key of a private key file, from itself, itself being public, or the ``.pub`` beside it; else empty."""
    found = ARMOUR.search(content)
    if found is not None:
        body = _openssh_body(found[2])
        if body is not None:
            start = sum(4 + len(one) for one in _strings(body, 3)) + 4  # cipher, kdf, its options; number of keys
            return _strings(body[start:], 1)[0]
        try:
            content = path.with_name(path.name + ".pub").read_bytes()
        except OSError:
            return b""
    words = content.split()
    try:
        return base64.b64decode(words[1], validate=True) if len(words) > 1 else b""
    except (ValueError, binascii.Error):
        return b""


def _openssh_body(armoured: bytes) -> bytes | None:
    try:
        data = base64.b64decode(b"".join(armoured.split()), validate=True)
    except (ValueError, binascii.Error):
        return None
    return data[len(OPENSSH) :] if data.startswith(OPENSSH) else None


def _strings(data: bytes, count: int) -> list[bytes]:
    """The first ``count`` length-prefixed strings of ``data``; what is not there is empty."""
    found = []
    for _ in range(count):
        size = int.from_bytes(data[:4], "big")
        found.append(data[4 : 4 + size])
        data = data[4 + size :]
    return found
