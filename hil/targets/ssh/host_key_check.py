"""Checks a host's key against the known host keys; never adds one."""

from __future__ import annotations

import os
import shlex
from typing import TYPE_CHECKING

from hil.targets.ssh.known_hosts import fingerprint, key_type
from hil.targets.ssh.ssh_errors import ChangedHostKey, UnknownHostKey

if TYPE_CHECKING:
    from collections.abc import Sequence

    from hil.targets.ssh.config.hop import Hop
    from hil.targets.ssh.known_hosts import Known

RSA = ("rsa-sha2-512", "rsa-sha2-256")  # signature algorithms for a key of type ssh-rsa


def preferred(known: Known, offered: Sequence[str]) -> list[str]:
    """Return the signature algorithms ``offered``, with those of the known keys first."""
    first = [name for kind in known.types() for name in (RSA if kind == "ssh-rsa" else (kind,)) if name in offered]
    return [*first, *(name for name in offered if name not in first)]


def judge(hop: Hop, shown: bytes, known: Known, where: str, via: Hop | None) -> None:
    """Do nothing if ``shown``, the key that the server showed, is a known key of the host; otherwise raise.

    Raise ``ChangedHostKey`` if the key was revoked or differs from the known keys, ``UnknownHostKey`` if no key is
    known. ``where`` is the hop in messages; ``via`` is the hop before it, or ``None``.
    """
    mark = f"{key_type(shown)} key {fingerprint(shown)}"
    if shown in known.revoked:
        raise ChangedHostKey(
            f"the host key was revoked: {where}: the host shows the revoked {mark}: do not connect to it"
        )
    if shown in known.keys:
        return
    if known.keys:
        places = ", ".join(known.keys.values())
        raise ChangedHostKey(
            f"the host key has changed, which may be an attack: {where}: the host shows the {mark}, but {places} has "
            "another one: ask the machine's administrator, then replace the line"
        )
    extra = " (known_hosts has a certificate authority for it, which is not supported)" if known.authority else ""
    raise UnknownHostKey(
        f"the host key is not known{extra}: {where}: the host shows the {mark}: "
        f"compare it with the machine's own key (`ssh-keygen -lf /etc/ssh/ssh_host_{_short(shown)}_key.pub` on it), "
        f"then {_how_to_add(hop, via)}"
    )


def _how_to_add(hop: Hop, via: Hop | None) -> str:
    """Return the advice, for the end of a message, on how to add the host's key to its first file of known keys."""
    file = next((file for file in hop.known_hosts if str(file) != os.devnull), None)
    if file is None:
        return (
            "set known_hosts in the target's table of hil.toml, or UserKnownHostsFile in the SSH config, to a file: "
            "the config names none, so that no key is ever known"
        )
    if hop.proxy:
        options = ["-o", f"UserKnownHostsFile={file}", "-o", "StrictHostKeyChecking=ask", "-p", str(hop.port)]
        return f"run `{shlex.join(['ssh', *options, hop.name])}` and accept this key only"
    return f"run: {_scan(hop, via)} >> {shlex.quote(str(file))}"


def _short(shown: bytes) -> str:
    kind = key_type(shown)
    return "ecdsa" if kind.startswith("ecdsa") else kind.removeprefix("ssh-")


def _scan(hop: Hop, via: Hop | None) -> str:
    """Return the command that prints the host's keys in the format of ``known_hosts``, on the hop ``via`` if any."""
    line = shlex.join(["ssh-keyscan", "-p", str(hop.port), hop.host])
    if via is not None:
        line = shlex.join(["ssh", via.name, line])
    if hop.known_as not in {hop.host.lower(), f"[{hop.host}]:{hop.port}".lower()}:
        line += " | " + shlex.join(["sed", f"s/^[^ #]*/{hop.known_as}/"])
    return line
