"""Finds keys to log in with: private key files and keys of the SSH agent. Never asks for a password or passphrase."""

from __future__ import annotations

import base64
import binascii
import re
import shlex
from typing import TYPE_CHECKING

import paramiko

from hil.targets.ssh.known_hosts import key_type

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from hil.targets.ssh.agent import AgentKeys
    from hil.targets.ssh.config.hop import Hop

OPENSSH = b"openssh-key-v1\0"  # PROTOCOL.key of OpenSSH
ARMOUR = re.compile(rb"-----BEGIN ([A-Z0-9 ]*)PRIVATE KEY-----(.*?)-----END", re.DOTALL)
Candidate = tuple[paramiko.PKey, str]


class Keys:
    """Finds the keys to try for one hop; ``notes`` states which key files cannot be used, and why."""

    def __init__(self, hop: Hop, agent: AgentKeys) -> None:
        """Read no key yet. ``agent`` reads the keys of the SSH agent."""
        self.hop = hop
        self.agent = agent
        self.yielded: set[bytes] = set()
        self.notes: list[str] = []

    def candidates(self) -> Iterator[Candidate]:
        """Yield each key with its name for messages.

        Key files that the user named come first, then the agent's keys, then OpenSSH's usual key files. With
        ``Hop.only``, keys that only the agent holds are left out.
        """
        if self.hop.chosen or self.hop.only:
            yield from self._files()
            if not self.hop.only:
                yield from self._agent_keys()
        else:
            yield from self._agent_keys()
            yield from self._files()

    def _agent_keys(self) -> Iterator[Candidate]:
        for blob, key in self.agent.keys().items():
            if blob not in self.yielded and self._allowed(key, "a key of the SSH agent"):
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
                self.yielded.add(blob)
            if own is not None:
                yield from self._certified(own, path)
                if self._allowed(own, str(path)):
                    yield own, str(path)
            elif held is not None:
                if self._allowed(held, str(path)):
                    yield held, f"{path}, through the SSH agent"
            elif is_encrypted(content):
                self.notes.append(
                    f"{path} is encrypted and the SSH agent does not hold it: run {shlex.join(['ssh-add', str(path)])}"
                )
            else:
                self.notes.append(f"{path} is not a usable private key")

    def _loaded(self, path: Path, content: bytes) -> paramiko.PKey | None:
        """Return the private key in a file; ``None`` if it is encrypted or not a private key."""
        if is_encrypted(content):
            return None
        try:
            key = paramiko.PKey.from_path(str(path))
        except (ValueError, TypeError, OSError, paramiko.SSHException, paramiko.UnknownKeyType):
            return None
        key.public_blob = None  # the certificate next to the file, which is tried separately
        return key

    def _certified(self, key: paramiko.PKey, path: Path) -> Iterator[Candidate]:
        """Yield ``key`` with each certificate made for it, from the SSH config or next to its file."""
        beside = path.with_name(f"{path.name}-cert.pub")
        for file in dict.fromkeys((*self.hop.certificates, beside)):
            try:
                certificate = paramiko.pkey.PublicBlob.from_file(str(file))
            except (ValueError, OSError, binascii.Error) as error:
                if file != beside or not isinstance(error, FileNotFoundError):
                    self.notes.append(f"{file} is not a usable certificate")
                continue
            if is_made_for(certificate.key_blob, key.asbytes()):
                certified = paramiko.PKey.from_path(str(path))
                certified.public_blob = certificate
                if self._allowed(certified, str(file)):
                    yield certified, f"{path} with {file}"

    def _allowed(self, key: paramiko.PKey, name: str) -> bool:
        """Return whether the SSH config allows the algorithm of ``key``; if not, add this to ``notes``.

        ``name`` is the key in the note.
        """
        allowed = self.hop.algorithms.get("logins")
        blob = getattr(key, "public_blob", None)
        kind = blob.key_type if blob is not None else key_type(key.asbytes())
        names = [f"rsa-sha2-{size}{kind.removeprefix('ssh-rsa')}" for size in (256, 512)] if "rsa" in kind else [kind]
        if allowed is None or not set(names).isdisjoint(allowed):
            return True
        self.notes.append(f"PubkeyAcceptedAlgorithms of the SSH config does not allow {kind} ({name})")
        return False


def is_encrypted(content: bytes) -> bool:
    """Return whether a private key file needs a passphrase."""
    armour = ARMOUR.search(content)
    if armour is None:
        return False
    if armour[1].startswith(b"ENCRYPTED") or b"Proc-Type: 4,ENCRYPTED" in armour[2]:
        return True
    body = _openssh_body(armour[2])
    return body is not None and _strings(body, 1)[0] != b"none"


def is_made_for(certificate: bytes, key: bytes) -> bool:
    """Return whether a certificate certifies the public key ``key``; both are in SSH's wire encoding."""
    kind, nonce = _strings(certificate, 2)
    fields = key[4 + int.from_bytes(key[:4], "big") :]
    return certificate[8 + len(kind) + len(nonce) :].startswith(fields)


def public_part(content: bytes, path: Path) -> bytes:
    """Return the public key of the key file ``path``, which has ``content`` and may hold a private or a public key.

    If a private key's format hides it, the ``.pub`` file next to it is read. The result is empty if neither shows it.
    """
    armour = ARMOUR.search(content)
    if armour is not None:
        body = _openssh_body(armour[2])
        if body is not None:
            start = sum(4 + len(text) for text in _strings(body, 3)) + 4  # cipher, kdf, its options; number of keys
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
    """Return the first ``count`` length-prefixed strings of ``data``; missing ones are empty."""
    strings = []
    for _ in range(count):
        size = int.from_bytes(data[:4], "big")
        strings.append(data[4 : 4 + size])
        data = data[4 + size :]
    return strings
