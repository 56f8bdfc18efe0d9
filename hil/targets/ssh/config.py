"""Computes the SSH hops to a target from its spec and the user's ``~/.ssh/config``; opens no connection."""

from __future__ import annotations

import getpass
import shlex
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import paramiko

from hil.errors import UserError
from hil.targets.ssh.ssh_client import settings_of
from hil.targets.ssh.ssh_config_text import TRAP, config_text, with_home

if TYPE_CHECKING:
    from collections.abc import Mapping

    from hil.config.spec import TargetSpec

PORT = 22
USUAL_KEYS = ("id_ed25519", "id_ecdsa", "id_rsa")
SYSTEM_KNOWN_HOSTS = (Path("/etc/ssh/ssh_known_hosts"), Path("/etc/ssh/ssh_known_hosts2"))
MOST_HOPS = 8
NAMED_BY_USER = ("userknownhostsfile", "globalknownhostsfile", "revokedhostkeys")
"""Config keys whose file names may contain ``%u``, the local user's name."""


@dataclass(frozen=True)
class Hop:
    """One machine on the route to a target: its address, the login, and the files that its host key is checked with.

    Attributes:
        name: the name that the user wrote.
        identities: private key files.
        chosen: whether the user named these files; if not, they are OpenSSH's usual ones.
        only: whether keys of the SSH agent must not be tried.
        known_as: the host's name in ``known_hosts``.
        known_hosts: files of known host keys; a new key belongs in the first.
        revoked: a file of revoked host keys.
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
    """Return the hops to a target; the last is the target itself. Raises ``UserError`` for an unusable config."""
    if not spec.host:
        raise UserError(f"kind 'ssh' has no host: on target {target!r}: write host = \"…\" in [targets.{target}]")
    path = Path.home() / ".ssh" / "config"
    try:
        return _Router(path, target, spec).hops_to(spec.host, spec)
    except (paramiko.SSHException, ValueError, KeyError) as error:
        raise UserError(f"{path} cannot be used: {error}: on target {target!r}: correct it") from None


class _Router:
    """Computes hops from the user's SSH config at ``path``, which is read once."""

    def __init__(self, path: Path, target: str, spec: TargetSpec) -> None:
        self.path = path
        self.target = target
        self.spec = spec
        self.config = paramiko.SSHConfig.from_text(config_text(path))

    def hops_to(self, name: str, spec: TargetSpec | None = None, depth: int = 0) -> tuple[Hop, ...]:
        """Return the hops to ``name``, the last of which is ``name`` itself.

        For the target, ``spec`` is its spec, which overrides the SSH config; for a jump host, it is ``None``. ``depth``
        is the number of jump hosts that are resolved through one another.
        """
        if depth > MOST_HOPS:
            raise self._refused(f"needs more than {MOST_HOPS} jump hosts", "look for a loop of ProxyJump")
        user, host, port = split_address(name) if spec is None else (None, name, None)
        entry = self._lookup(host)
        hop = self._hop(host, entry, user=spec.user if spec else user, port=spec.port if spec else port, spec=spec)
        jumps = [jump.strip() for jump in entry.get("proxyjump", "none").split(",")]
        if [jump.lower() for jump in jumps] == ["none"]:
            return (hop,)
        # Like OpenSSH: of several jump hosts, only the first is reached through its own ProxyJump.
        before = self.hops_to(jumps[0], None, depth + 1)
        for jump in jumps[1:]:
            before += self.hops_to(jump, None, depth + 1)[-1:]
        if len(before) > MOST_HOPS:
            raise self._refused(f"needs more than {MOST_HOPS} jump hosts", "look for a loop of ProxyJump")
        return (*before, hop)

    def _lookup(self, host: str) -> Mapping[str, Any]:
        self._user_name()  # paramiko's lookup needs it as well
        entry: Mapping[str, Any] = self.config.lookup(host)
        if TRAP in entry:
            entry = self._by_ssh(host, str(entry[TRAP]))
        if entry.get("proxycommand"):
            what = f"has a ProxyCommand for {host!r}, and pytest-hil runs no command of an SSH config"
            raise self._refused(what, "use ProxyJump instead")
        return entry

    def _by_ssh(self, host: str, criteria: str) -> Mapping[str, Any]:
        """Return what ssh says of ``host``, to which ``criteria`` apply that are not followed here.

        Raises ``UserError`` if ssh refuses the config, is not here, or might run a command of the config.
        """
        try:
            answer = settings_of(self.path, host)
        except UserError as error:
            raise UserError(
                f"{error}: on target {self.target!r}: correct these lines, or install an OpenSSH that knows them"
            ) from None
        if answer is not None:
            return answer
        what = f"applies `Match {criteria}` to {host!r}, and pytest-hil runs no command of an SSH config"
        if "exec" not in criteria:
            what += "; it asks ssh about such criteria if ssh is installed and the config has no exec and no Include"
        raise self._refused(what, f"write the settings of {host!r} under `Host {host}`, above that Match")

    def _refused(self, what: str, advice: str) -> UserError:
        return UserError(f"{self.path} {what}: on target {self.target!r}: {advice}")

    def _user_name(self) -> str:
        """Return the name of the local user. Raise ``UserError`` if the account has none."""
        try:
            return getpass.getuser()
        except (KeyError, OSError, ImportError):
            what = f"the local account has no user name: on target {self.target!r}"
            raise UserError(f"{what}: set the environment variable LOGNAME") from None

    def _spec_path(self, key: str, text: str) -> Path:
        """Return the path ``text``, the value of the target's key ``key`` in ``hil.toml``, with ``~`` expanded."""
        try:
            return with_home(text)
        except ValueError as error:
            what = f"{key} cannot be used: {error}"
            raise UserError(f"{what}: on target {self.target!r}: write an absolute path") from None

    def _hop(
        self, name: str, entry: Mapping[str, Any], *, user: str | None, port: int | None, spec: TargetSpec | None
    ) -> Hop:
        host = str(entry["hostname"])
        port = port or int(entry.get("port", PORT))
        user = user or str(entry.get("user") or self._user_name())
        files = _identities(entry)
        only = entry.get("identitiesonly", "no").lower() == "yes"
        if spec is not None and spec.identity:
            files, only = (self._spec_path("identity", spec.identity),), True
        alias = entry.get("hostkeyalias")
        known_as = str(alias) if alias else host if port == PORT else f"[{host}]:{port}"
        tokens = {"%%": "%", "%d": str(Path.home()), "%h": host, "%k": str(alias or host), "%n": name}
        tokens |= {"%p": str(port), "%r": user}
        if any("%u" in str(entry.get(key)) for key in NAMED_BY_USER):
            tokens["%u"] = self._user_name()
        known_hosts = _known_hosts(entry, tokens)
        if self.spec.known_hosts:
            own = self._spec_path("known_hosts", self.spec.known_hosts)
            known_hosts = (own,) if spec is not None else (own, *known_hosts)
        usual = tuple(Path.home() / ".ssh" / key for key in USUAL_KEYS)
        return Hop(
            *(name, host, port, user),
            identities=usual if files is None else files,
            chosen=files is not None,
            only=only,
            known_as=known_as.lower(),
            known_hosts=known_hosts,
            revoked=_revoked(entry.get("revokedhostkeys"), tokens),
        )


def split_address(text: str) -> tuple[str | None, str, int | None]:
    """Split ``[ssh://][user@]host[:port]`` (IPv6 in brackets) into user, host and port. Raises ``ValueError``."""
    user, _, place = text.strip().removeprefix("ssh://").rstrip("/").rpartition("@")
    host, port = place, ""
    if place.startswith("["):
        host, _, port = place[1:].partition("]")
        port = port.removeprefix(":")
    elif place.count(":") == 1:
        host, _, port = place.partition(":")
    if not host or (port and not 0 < int(port) < 1 << 16):
        raise ValueError(f"ProxyJump {text!r} is not [user@]host[:port]")
    return user or None, host, int(port) if port else None


def _identities(entry: Mapping[str, Any]) -> tuple[Path, ...] | None:
    """Return the key files that the config names. ``None`` means no ``IdentityFile``, so that the usual files apply."""
    files = entry.get("identityfile")
    if files is None:
        return None
    return tuple(dict.fromkeys(with_home(file.strip('"')) for file in files if file.lower() != "none"))


def _known_hosts(entry: Mapping[str, Any], tokens: Mapping[str, str]) -> tuple[Path, ...]:
    folder = Path.home() / ".ssh"
    users = (folder / "known_hosts", folder / "known_hosts2")
    return (
        *_files(entry.get("userknownhostsfile"), users, tokens),
        *_files(entry.get("globalknownhostsfile"), SYSTEM_KNOWN_HOSTS, tokens),
    )


def _files(value: str | None, usual: tuple[Path, ...], tokens: Mapping[str, str]) -> tuple[Path, ...]:
    if value is None:
        return usual
    return tuple(with_home(_expanded(file, tokens)) for file in shlex.split(value) if file.lower() != "none")


def _revoked(value: str | None, tokens: Mapping[str, str]) -> Path | None:
    return None if value is None or value.lower() == "none" else with_home(_expanded(value.strip('"'), tokens))


def _expanded(text: str, tokens: Mapping[str, str]) -> str:
    """Return ``text`` with its percent tokens replaced in one pass, so that no inserted value is expanded again."""
    expanded, at = "", 0
    while at < len(text):
        pair = text[at : at + 2]
        expanded += tokens.get(pair, pair if pair[0] == "%" else pair[0])
        at += 2 if pair[0] == "%" else 1
    return expanded
