"""Reads known host keys in OpenSSH's ``known_hosts`` format (sshd(8))."""

from __future__ import annotations

import base64
import binascii
import fnmatch
import hashlib
import hmac
import re
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from hil.errors import LabError

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from pathlib import Path

KRL = b"SSHKRL\n\0"  # PROTOCOL.krl of OpenSSH
FIELDS = 3  # hosts, key type, key


@dataclass
class Known:
    """The known keys of one host.

    ``keys`` maps each key, in SSH's wire encoding, to ``FILE:LINE``; ``revoked`` are keys that must be refused.
    ``authority`` is whether a file has a certificate authority for the host.
    """

    keys: dict[bytes, str] = field(default_factory=dict)
    revoked: set[bytes] = field(default_factory=set)
    authority: bool = False

    def types(self) -> list[str]:
        """Return the types of the known keys, e.g. ``ssh-ed25519``, in the order of the files."""
        return list(dict.fromkeys(key_type(blob) for blob in self.keys))


def known_keys(name: str, files: Iterable[Path]) -> Known:
    """Return the keys that ``files`` have for the host ``name`` (``host``, or ``[host]:port``); skips missing files.

    Raises ``LabError`` if a file cannot be read.
    """
    known = Known()
    for file in files:
        for number, line in enumerate(_lines(file), 1):
            marker, hosts, blob = _parsed(line)
            if blob is None or not matches(hosts, name):
                continue
            if marker == "@revoked":
                known.revoked.add(blob)
            elif marker == "@cert-authority":
                known.authority = True
            elif not marker:
                known.keys.setdefault(blob, f"{file}:{number}")
    return known


def revoked_keys(file: Path | None) -> set[bytes]:
    """Return the keys in a ``RevokedHostKeys`` file (ssh_config(5)), one public key per line; empty for ``None``.

    Raises ``LabError`` if any part of the file cannot be read.
    """
    if file is None:
        return set()
    advice = "make it a readable list of public keys, one per line, or remove RevokedHostKeys from the SSH config"
    try:
        data = file.read_bytes()
    except OSError as error:
        raise LabError(f"the revoked host keys in {file} cannot be read: {error.strerror}: {advice}") from None
    if data.startswith(KRL):
        raise LabError(f"the revoked host keys in {file} are a KRL, which pytest-hil cannot read: {advice}")
    revoked = set()
    for number, line in enumerate(data.decode("utf-8", "replace").splitlines(), 1):
        if not line.strip() or line.lstrip().startswith("#"):
            continue
        _, _, blob = _parsed(f"* {line}")
        if blob is None:
            raise LabError(f"the revoked host keys in {file} have no key in line {number}: {advice}")
        revoked.add(blob)
    return revoked


def _lines(file: Path) -> Iterator[str]:
    try:
        yield from file.read_text(encoding="utf-8", errors="replace").splitlines()
    except FileNotFoundError:
        return
    except OSError as error:
        raise LabError(
            f"the known host keys in {file} cannot be read: {error.strerror}: make the file readable"
        ) from None


def _parsed(line: str) -> tuple[str, str, bytes | None]:
    """Return the marker (empty if there is none), hosts and key of a line of ``known_hosts``.

    For a comment and a malformed line, the key is ``None``.
    """
    words = line.split()
    marker = words.pop(0) if words and words[0].startswith("@") else ""
    if len(words) < FIELDS or words[0].startswith("#"):
        return marker, "", None
    try:
        blob = base64.b64decode(words[2], validate=True)
    except (binascii.Error, ValueError):
        return marker, "", None
    return marker, words[0], blob if key_type(blob) == words[1] else None


def key_type(blob: bytes) -> str:
    """Return the type of a public key in SSH's wire encoding, e.g. ``ssh-ed25519``."""
    return blob[4 : 4 + int.from_bytes(blob[:4], "big")].decode("ascii", "replace")


def matches(hosts: str, name: str) -> bool:
    """Return whether ``hosts``, a hash or the patterns at the beginning of a line, matches the host ``name``."""
    if hosts.startswith("|"):
        return _matches_hash(hosts, name)
    matched = False
    for pattern in hosts.lower().split(","):
        # Brackets belong to a name with a port; fnmatch would read them as a character class.
        escaped = re.sub(r"\[", "[[]", pattern.removeprefix("!"))
        if fnmatch.fnmatchcase(name, escaped):
            if pattern.startswith("!"):
                return False
            matched = True
    return matched


def _matches_hash(hosts: str, name: str) -> bool:
    """Return whether ``hosts``, of the form ``|1|salt|hash``, is the HMAC-SHA1 of ``name`` with that salt."""
    try:
        _, kind, salt, digest = hosts.split("|")
        expected = base64.b64decode(digest, validate=True)
        actual = hmac.new(base64.b64decode(salt, validate=True), name.encode(), hashlib.sha1).digest()
    except (ValueError, binascii.Error):
        return False
    return kind == "1" and hmac.compare_digest(actual, expected)


def fingerprint(blob: bytes) -> str:
    """Return the fingerprint of a public key as ``ssh-keygen -l`` prints it: ``SHA256:…``."""
    return "SHA256:" + base64.b64encode(hashlib.sha256(blob).digest()).decode().rstrip("=")
