"""From a target's spec and the user's ``~/.ssh/config`` to the hops that lead there; opens no connection."""

from __future__ import annotations

import getpass
import shlex
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import paramiko

from hil.errors import UserError
from hil.targets.ssh.ssh_config_text import TRAP, config_text, with_home

if TYPE_CHECKING:
    from collections.abc import Mapping

    from hil.config.spec import TargetSpec

PORT = 22
USUAL_KEYS = ("id_ed25519", "id_ecdsa", "id_rsa")
SYSTEM_KNOWN_HOSTS = (Path("/etc/ssh/ssh_known_hosts"), Path("/etc/ssh/ssh_known_hosts2"))
MOST_HOPS = 8
NAMED_BY_USER = ("userknownhostsfile", "globalknownhostsfile", "revokedhostkeys")
"""Keys of the config whose files may have the user's name in theirs."""


@dataclass(frozen=True)
class Hop:
    """One machine on the way: where it is, who we are there, by what keys, and where its host key is looked up.

    ``name`` is as the user wrote it. ``identities`` are private key files, ``chosen`` tells that the user named
    them, ``only`` that nothing else may be tried. ``known_as`` is the host's name in ``known_hosts``, whose first
    file is where a new key would go; ``revoked`` lists keys of any host that are believed no more.
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

    def __str__(self) -> str:
        return f"{self.host} port {self.port}"


def route(target: str, spec: TargetSpec) -> tuple[Hop, ...]:
    """The hops to a target, itself the last. Raises ``UserError`` for what the config cannot have meant."""
    if not spec.host:
        raise UserError(f"kind 'ssh' has no host: on target {target!r}: write host = \"…\" in [targets.{target}]")
    path = Path.home() / ".ssh" / "config"
    try:
        return _Way(path, target, spec).to(spec.host, spec)
    except (paramiko.SSHException, ValueError, KeyError) as error:
        raise UserError(f"{path} cannot be used: {error}: on target {target!r}: correct it") from None


class _Way:
    """One reading of the user's config."""

    def __init__(self, path: Path, target: str, spec: TargetSpec) -> None:
        self.path = path
        self.target = target
        self.spec = spec
        self.config = paramiko.SSHConfig.from_text(config_text(path))

    def to(self, name: str, spec: TargetSpec | None = None, depth: int = 0) -> tuple[Hop, ...]:
        """The hops to ``name``; ``spec`` is there for the target itself, and wins."""
        if depth > MOST_HOPS:
            raise self._refused(f"leads over more than {MOST_HOPS} jump hosts", "look for a circle of ProxyJump")
        user, host, port = split_address(name) if spec is None else (None, name, None)
        found = self._lookup(host)
        hop = self._hop(host, found, user=spec.user if spec else user, port=spec.port if spec else port, spec=spec)
        jumps = [jump.strip() for jump in found.get("proxyjump", "none").split(",")]
        if jumps == ["none"]:
            return (hop,)
        # As OpenSSH does: only the first of several is reached by its own config's ProxyJump.
        before = self.to(jumps[0], None, depth + 1)
        for jump in jumps[1:]:
            before += self.to(jump, None, depth + 1)[-1:]
        if len(before) > MOST_HOPS:
            raise self._refused(f"leads over more than {MOST_HOPS} jump hosts", "look for a circle of ProxyJump")
        return (*before, hop)

    def _lookup(self, host: str) -> Mapping[str, Any]:
        self._own_name()  # paramiko asks for it as well
        found: Mapping[str, Any] = self.config.lookup(host)
        if TRAP in found:
            what = f"judges {host!r} by `Match {found[TRAP]}`, and pytest-hil runs no command of a config"
            raise self._refused(what, f"write what {host!r} needs under `Host {host}`, above it")
        if found.get("proxycommand"):
            what = f"has a ProxyCommand for {host!r}, and pytest-hil runs no command of a config"
            raise self._refused(what, "use ProxyJump in its place")
        return found

    def _refused(self, what: str, advice: str) -> UserError:
        return UserError(f"{self.path} {what}: on target {self.target!r}: {advice}")

    def _own_name(self) -> str:
        """Who runs this."""
        try:
            return getpass.getuser()
        except (KeyError, OSError, ImportError):
            what = f"the account that runs this has no name: on target {self.target!r}"
            raise UserError(f"{what}: set the variable LOGNAME to one") from None

    def _own(self, key: str, text: str) -> Path:
        """A path of the target's own."""
        try:
            return with_home(text)
        except ValueError as error:
            what = f"{key} cannot be used: {error}"
            raise UserError(f"{what}: on target {self.target!r}: write the whole path") from None

    def _hop(
        self, name: str, found: Mapping[str, Any], *, user: str | None, port: int | None, spec: TargetSpec | None
    ) -> Hop:
        host = str(found["hostname"])
        port = port or int(found.get("port", PORT))
        user = user or str(found.get("user") or self._own_name())
        files = _identities(found)
        only = found.get("identitiesonly", "no").lower() == "yes"
        if spec is not None and spec.identity:
            files, only = (self._own("identity", spec.identity),), True
        alias = found.get("hostkeyalias")
        known_as = str(alias) if alias else host if port == PORT else f"[{host}]:{port}"
        words = {"%%": "%", "%d": str(Path.home()), "%h": host, "%k": str(alias or host), "%n": name}
        words |= {"%p": str(port), "%r": user}
        if any("%u" in str(found.get(key)) for key in NAMED_BY_USER):
            words["%u"] = self._own_name()
        known_hosts = _known_hosts(found, words)
        if self.spec.known_hosts:
            own = self._own("known_hosts", self.spec.known_hosts)
            known_hosts = (own,) if spec is not None else (own, *known_hosts)
        usual = tuple(Path.home() / ".ssh" / key for key in USUAL_KEYS)
        return Hop(
            *(name, host, port, user),
            identities=usual if files is None else files,
            chosen=files is not None,
            only=only,
            known_as=known_as.lower(),
            known_hosts=known_hosts,
            revoked=_revoked(found.get("revokedhostkeys"), words),
        )


def split_address(text: str) -> tuple[str | None, str, int | None]:
    """User, host and port of ``[ssh://][user@]host[:port]``, IPv6 addresses in brackets. Raises ``ValueError``."""
    user, _, place = text.strip().removeprefix("ssh://").rstrip("/").rpartition("@")
    host, port = place, ""
    if place.startswith("["):
        host, _, port = place[1:].partition("]")
        port = port.removeprefix(":")
    elif place.count(":") == 1:
        host, _, port = place.partition(":")
    if not host or (port and not 0 < int(port) < 1 << 16):
        raise ValueError(f"ProxyJump {text!r} is no [user@]host[:port]")
    return user or None, host, int(port) if port else None


def _identities(found: Mapping[str, Any]) -> tuple[Path, ...] | None:
    """The key files that the config names; ``None`` where it names none, which leaves the usual ones."""
    files = found.get("identityfile")
    if files is None:
        return None
    return tuple(dict.fromkeys(with_home(file.strip('"')) for file in files if file.lower() != "none"))


def _known_hosts(found: Mapping[str, Any], words: Mapping[str, str]) -> tuple[Path, ...]:
    folder = Path.home() / ".ssh"
    users = (folder / "known_hosts", folder / "known_hosts2")
    return (
        *_files(found.get("userknownhostsfile"), users, words),
        *_files(found.get("globalknownhostsfile"), SYSTEM_KNOWN_HOSTS, words),
    )


def _files(value: str | None, usual: tuple[Path, ...], words: Mapping[str, str]) -> tuple[Path, ...]:
    if value is None:
        return usual
    return tuple(with_home(_expanded(file, words)) for file in shlex.split(value) if file.lower() != "none")


def _revoked(value: str | None, words: Mapping[str, str]) -> Path | None:
    return None if value is None or value.lower() == "none" else with_home(_expanded(value.strip('"'), words))


def _expanded(text: str, words: Mapping[str, str]) -> str:
    """``text`` with its percent words replaced, from left to right, so that no value is expanded again."""
    made, at = "", 0
    while at < len(text):
        word = text[at : at + 2]
        made += words.get(word, word if word[0] == "%" else word[0])
        at += 2 if word[0] == "%" else 1
    return made
