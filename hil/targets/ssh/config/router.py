"""Computes the SSH hops to a target from its spec and the SSH config; opens no connection."""

from __future__ import annotations

import os
import re
import shutil
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from hil.errors import UserError
from hil.targets.ssh.config.home_folder import home, with_home
from hil.targets.ssh.config.hop import ALGORITHMS, Hop
from hil.targets.ssh.config.plain_config import PlainConfig
from hil.targets.ssh.config.settings import ConfigError
from hil.targets.ssh.config.ssh_client import ASKED, SshClient
from hil.targets.ssh.config.tokens import expanded
from hil.targets.ssh.handshake import OFFERED

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from hil.config.spec import TargetSpec
    from hil.targets.ssh.config.settings import Settings

PORT = 22
USUAL_KNOWN_HOSTS = {
    "userknownhostsfile": "~/.ssh/known_hosts ~/.ssh/known_hosts2",
    "globalknownhostsfile": "/etc/ssh/ssh_known_hosts /etc/ssh/ssh_known_hosts2",
}
MOST_HOPS = 8
NAME = re.compile(r"(?!-)[\w.%+/-]+|[0-9A-Fa-f.]*(:[0-9A-Fa-f.]*){2,}(%[\w.-]+)?")
"""A host name, address or alias. It has no character that a shell interprets, and does not begin with ``-``, so that no
program takes it for an option. Only an IPv6 address has colons, so that ``rover:2222`` is not taken for a name."""

USER = re.compile(r"(?!-)([\w.+-]+\\)?[\w.:+@/-]+")
"""A user's name, which may begin with a domain and a backslash. It has no other character that a shell interprets, and
does not begin with ``-``."""


def route(target: str, spec: TargetSpec) -> tuple[Hop, ...]:
    """Return the hops to a target; the last is the target itself.

    The SSH config is read by the installed ``ssh``, or by paramiko if no ``ssh`` is installed. Raises ``UserError`` for
    an unusable config.
    """
    if not spec.host:
        raise UserError(f"kind 'ssh' has no host: on target {target!r}: write host = \"…\" in [targets.{target}]")
    ssh = shutil.which("ssh")
    try:
        return _Router(SshClient(ssh) if ssh else PlainConfig(), target, spec).hops_to(spec.host, spec)
    except ConfigError as error:
        raise UserError(f"{error.what}: on target {target!r}: {error.advice}") from None
    except ValueError as error:
        path = home() / ".ssh" / "config"
        where = f"jump in [targets.{target}] or {path}" if spec.jump else path
        raise UserError(f"{where} cannot be used: {error}: on target {target!r}: correct it") from None


class _Router:
    """Computes hops; ``config`` returns the settings of the SSH config for a host."""

    def __init__(self, config: SshClient | PlainConfig, target: str, spec: TargetSpec) -> None:
        self.config = config
        self.target = target
        self.spec = spec

    def hops_to(self, name: str, spec: TargetSpec | None = None, depth: int = 0) -> tuple[Hop, ...]:
        """Return the hops to the host ``name``, the last of which is ``name`` itself.

        For the target, ``spec`` is its spec, which overrides the SSH config; for a jump host, it is ``None``. ``depth``
        is the number of jump hosts whose own ProxyJump led here.
        """
        if depth > MOST_HOPS:
            raise self._refused(f"needs more than {MOST_HOPS} jump hosts", "look for a loop of ProxyJump")
        settings, hop = self._hop(name, spec)
        jump = settings.first("proxyjump")
        if spec is not None and spec.jump:
            jump, hop = spec.jump, replace(hop, proxy=None)
        if jump is None:
            return (hop,)
        tokens = _for_routes(self._tokens(settings, hop.name))
        jumps = [one.strip() for one in expanded(jump, tokens, variables=False).split(",")]
        # Like OpenSSH: of several jump hosts, only the first is reached by its own ProxyJump or ProxyCommand.
        before = self.hops_to(jumps[0], None, depth + 1)
        before += tuple(replace(self._hop(one)[1], proxy=None) for one in jumps[1:])
        if len(before) > MOST_HOPS:
            raise self._refused(f"needs more than {MOST_HOPS} jump hosts", "look for a loop of ProxyJump")
        return (*before, hop)

    def _hop(self, name: str, spec: TargetSpec | None = None) -> tuple[Settings, Hop]:
        """Return the settings of the host ``name``, and its hop; ``spec`` is as in ``hops_to``.

        Raises ``UserError`` for a setting that is not supported.
        """
        user, host, port = split_address(name) if spec is None else (spec.user, name, spec.port)
        self._check(host, NAME, "host name")
        self._check(user or "user", USER, "user name")
        settings = self.config.settings(host, user, port)
        address = settings["hostname"][0]
        if not NAME.fullmatch(address):
            raise self._refused(f"has the HostName {address!r} for {host!r}", "write a host name or an address")
        for setting, advice in _unsupported(settings, known=spec is not None and spec.known_hosts is not None):
            raise self._refused(f"has {setting} for {host!r}, which is not supported here", advice)
        hop = self._made(settings, host, self._tokens(settings, host), spec)
        for kind, (key, *_) in ALGORITHMS.items():
            if not hop.allowed(kind, OFFERED[kind]):
                offered = ", ".join(OFFERED[kind])
                raise self._refused(f"allows no {kind} for {host!r} that are supported here", f"add to {key} {offered}")
        return settings, hop

    def _made(self, settings: Settings, name: str, tokens: Mapping[str, str], spec: TargetSpec | None) -> Hop:
        port = int(settings["port"][0])
        address, alias = tokens["h"], settings.get("hostkeyalias", [""])[0]
        known_as = alias or (address if port == PORT else f"[{address}]:{port}")
        given = "identityfile" in settings
        files = settings.every("identityfile") if given else self.config.usual_keys
        identities = tuple(dict.fromkeys(_path(file, tokens) for file in files))
        only = settings.is_on("identitiesonly")
        if spec is not None and spec.identity:
            identities, given, only = (self._spec_path("identity", spec.identity),), True, True
        known = tuple(file for key in USUAL_KNOWN_HOSTS for file in self._known_hosts(settings, key, tokens))
        if self.spec.known_hosts:
            own = self._spec_path("known_hosts", self.spec.known_hosts)
            known = (own,) if spec is not None else (own, *known)
        proxy, revoked = settings.first("proxycommand"), settings.first("revokedhostkeys")
        return Hop(
            *(name, address, port, settings["user"][0]),
            identities=identities,
            chosen=given,
            only=only,
            known_as=known_as.lower(),
            known_hosts=known,
            revoked=_path(revoked, tokens) if revoked else None,
            certificates=tuple(_path(file, tokens) for file in settings.every("certificatefile")),
            proxy=expanded(proxy, _for_routes(tokens), variables=False) if proxy else None,
            agent=_agent(settings, tokens),
            family=settings.first("addressfamily") or "any",
            bind=settings.first("bindaddress"),
            algorithms={kind: text.split(",") for kind, keys in ALGORITHMS.items() if (text := settings.first(*keys))},
        )

    def _tokens(self, settings: Settings, name: str) -> dict[str, str]:
        """Return the values of the tokens of ssh_config(5), by letter; without ``ASKED`` if ssh did not print them."""
        asked = (settings.first("controlpath") or "").split("/")
        local = dict(zip(ASKED, asked, strict=True)) if len(asked) == len(ASKED) and "%C" not in asked else {}
        return {
            "d": str(home()),
            "h": settings["hostname"][0],
            "i": str(os.getuid()),
            "k": settings.get("hostkeyalias", [name])[0],
            "n": name,
            "p": settings["port"][0],
            "r": settings["user"][0],
            **local,
        }

    def _known_hosts(self, settings: Settings, key: str, tokens: Mapping[str, str]) -> Iterator[Path]:
        """Yield the files of the setting ``key``, one of ``USUAL_KNOWN_HOSTS``.

        Raises ``UserError`` for a relative path.
        """
        for file in re.split(r" +(?=[/~])|(?:^| +)none$", settings.get(key, [USUAL_KNOWN_HOSTS[key]])[0]):
            path = _path(file, tokens) if file else None
            if path is not None and not path.is_absolute():
                raise self._refused(f"has the relative path {file!r} in {key}", "write absolute paths, or ~/…")
            if path is not None:
                yield path

    def _check(self, text: str, pattern: re.Pattern[str], what: str) -> None:
        if not pattern.fullmatch(text):
            advice = "use letters, digits, dots and dashes, and write the user and the port in keys of their own"
            raise UserError(f"{text!r} cannot be a {what}: on target {self.target!r}: {advice}")

    def _refused(self, what: str, advice: str) -> UserError:
        return UserError(f"{self.config.source} {what}: on target {self.target!r}: {advice}")

    def _spec_path(self, key: str, text: str) -> Path:
        """Return the path ``text``, the value of the target's key ``key`` in ``hil.toml``, with ``~`` expanded.

        Raise ``UserError`` if ``~user`` names an unknown account.
        """
        try:
            return with_home(text)
        except ValueError as error:
            what = f"{key} cannot be used: {error}"
            raise UserError(f"{what}: on target {self.target!r}: write an absolute path") from None


def split_address(text: str) -> tuple[str | None, str, int | None]:
    """Return user, host and port of ``[ssh://][user@]host[:port]``; ``None`` for a missing part.

    An IPv6 address with a port must be in brackets.

    Raise ``ValueError`` for text of another form.
    """
    user, _, place = text.strip().removeprefix("ssh://").rstrip("/").rpartition("@")
    host, port = place, ""
    if place.startswith("["):
        host, end, port = place[1:].partition("]")
        if not end or (port and not port.startswith(":")):
            host = ""
        port = port.removeprefix(":")
    elif place.count(":") == 1:
        host, _, port = place.partition(":")
    if not host or (port and not (port.isdecimal() and 0 < int(port) < 1 << 16)):
        raise ValueError(f"ProxyJump {text!r} is not [user@]host[:port]")
    return user or None, host, int(port) if port else None


def _unsupported(settings: Settings, *, known: bool) -> Iterator[tuple[str, str]]:
    """Yield each setting that would change the route or the keys but is not supported here, and what to do instead.

    ``known`` states that ``hil.toml`` names the known host keys itself.
    """
    if settings.is_off("pubkeyauthentication") or "publickey" not in (
        settings.first("preferredauthentications") or "publickey"
    ).split(","):
        yield "PubkeyAuthentication or PreferredAuthentications without keys", "allow the login by key"
    if settings.first("knownhostscommand") and not known:
        yield "KnownHostsCommand", 'name a file of host keys: known_hosts = "…" in the target\'s table'
    if settings.first("bindinterface"):
        yield "BindInterface", "use BindAddress instead"
    if settings.first("proxycommand") and settings.is_on("proxyusefdpass"):
        yield "ProxyUseFdpass", "use a ProxyCommand that copies the bytes itself"


def _for_routes(tokens: Mapping[str, str]) -> dict[str, str]:
    """Return those ``tokens`` that ProxyJump and ProxyCommand may have."""
    return {name: tokens[name] for name in "hknpr"}


def _path(text: str, tokens: Mapping[str, str]) -> Path:
    """Return a file name of the config with ``~``, tokens and environment variables replaced, in OpenSSH's order."""
    return Path(expanded(str(with_home(text)), tokens))


def _agent(settings: Settings, tokens: Mapping[str, str]) -> str | None:
    """Return the socket of the SSH agent: ``None`` for that of SSH_AUTH_SOCK, empty for no agent (``Hop.agent``)."""
    text = settings.get("identityagent", ["SSH_AUTH_SOCK"])[0]
    if text == "SSH_AUTH_SOCK":
        return None
    if re.fullmatch(r"\$\w+", text):
        return os.environ.get(text[1:], "")
    return "" if text.lower() == "none" else str(_path(text, tokens))
