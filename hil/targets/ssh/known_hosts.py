"""Host keys that are known, in OpenSSH's ``known_hosts`` format (sshd(8)).

Read here because paramiko's own reader knows no wildcards and passes over ``@revoked``.
"""

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
    """What is known of one host: ``keys`` and where each stands, what was ``revoked``, whether a CA would answer."""

    keys: dict[bytes, str] = field(default_factory=dict)
    revoked: set[bytes] = field(default_factory=set)
    authority: bool = False

    def types(self) -> list[str]:
        """The types of the known keys, e.g. ``ssh-ed25519``, in the files' order."""
        return list(dict.fromkeys(key_type(blob) for blob in self.keys))


def known_keys(name: str, files: Iterable[Path]) -> Known:
    """What ``files`` know of the host ``name`` (``host``, or ``[host]:port``); a file that is not there knows nothing.

    Raises ``LabError`` for one that cannot be read: whether a key was revoked could not be told.
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
    """The keys in a file of ``RevokedHostKeys`` (ssh_config(5)): one public key a line; ``None`` has none.

    Raises ``LabError`` for one that cannot be read to its end, as OpenSSH then believes no host.
    """
    if file is None:
        return set()
    advice = "make it a readable list of public keys, one a line, or take RevokedHostKeys out of the SSH config"
    try:
        data = file.read_bytes()
    except OSError as error:
        raise LabError(f"the revoked host keys in {file} cannot be read: {error.strerror}: {advice}") from None
    if data.startswith(KRL):
        raise LabError(f"the revoked host keys in {file} are a KRL, which pytest-hil cannot read: {advice}")
    found = set()
    for number, line in enumerate(data.decode("utf-8", "replace").splitlines(), 1):
        if not line.strip() or line.lstrip().startswith("#"):
            continue
        _, _, blob = _parsed(f"* {line}")
        if blob is None:
            raise LabError(f"the revoked host keys in {file} have no key in line {number}: {advice}")
        found.add(blob)
    return found


def _lines(file: Path) -> Iterator[str]:
    try:
        yield from file.read_text(encoding="utf-8", errors="replace").splitlines()
    except FileNotFoundError:
        return
    except OSError as error:
        raise LabError(f"the known host keys in {file} cannot be read: {error.strerror}: make it readable") from None


def _parsed(line: str) -> tuple[str, str, bytes | None]:
    """Marker, hosts and key of a line; the key is ``None`` for a comment or what cannot be read."""
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
    """The type that a public key in SSH's own encoding begins with."""
    return blob[4 : 4 + int.from_bytes(blob[:4], "big")].decode("ascii", "replace")


def matches(hosts: str, name: str) -> bool:
    """Whether the first field of a line means the host ``name``: hashed, or patterns of which none is negated."""
    if hosts.startswith("|"):
        return _matches_hash(hosts, name)
    found = False
    for pattern in hosts.lower().split(","):
        # Brackets are part of a name with a port, and no set of letters as fnmatch has it.
        told = re.sub(r"\[", "[[]", pattern.removeprefix("!"))
        if fnmatch.fnmatchcase(name, told):
            if pattern.startswith("!"):
                return False
            found = True
    return found


def _matches_hash(hosts: str, name: str) -> bool:
    """``|1|salt|hash``: HMAC-SHA1 of the name under the salt."""
    try:
        _, kind, salt, digest = hosts.split("|")
        wanted = base64.b64decode(digest, validate=True)
        made = hmac.new(base64.b64decode(salt, validate=True), name.encode(), hashlib.sha1).digest()
    except (ValueError, binascii.Error):
        return False
    return kind == "1" and hmac.compare_digest(made, wanted)


def fingerprint(blob: bytes) -> str:
    """``SHA256:…`` of a public key, as ``ssh-keygen -l`` prints it."""
    return "SHA256:" + base64.b64encode(hashlib.sha256(blob).digest()).decode().rstrip("=")
