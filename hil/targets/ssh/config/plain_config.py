"""Reads the SSH config where no ``ssh`` is installed, with paramiko's parser."""

from __future__ import annotations

import getpass
import re
from pathlib import Path
from typing import TYPE_CHECKING

import paramiko

from hil.targets.ssh.config.home_folder import home
from hil.targets.ssh.config.settings import ConfigError, Settings

if TYPE_CHECKING:
    from collections.abc import Iterator

SYSTEM = Path("/etc/ssh/ssh_config")
LINE = re.compile(r"(\w+)(?:\s*=\s*|\s+)(.+)")  # as paramiko parses a line
COMMANDS = {"proxycommand", "localcommand", "remotecommand", "knownhostscommand"}
"""Keys whose value is a command up to the end of the line, with quotes and number signs."""

CRITERIA = {"all", "host", "originalhost", "user", "localuser"}
UNKNOWN = {"include", "canonicalizehostname", "certificatefile", "tag"}
ALGORITHMS = {"kexalgorithms", "ciphers", "macs", "hostkeyalgorithms", "pubkeyacceptedalgorithms"}
ROUTES = ("proxyjump", "proxycommand")


class _Config(paramiko.SSHConfig):  # type: ignore[misc]  # paramiko ships no types
    """paramiko's parser, which replaces tokens only in ``HostName``."""

    TOKENS_BY_CONFIG_KEY = {"hostname": ["%h"]}  # noqa: RUF012 - paramiko's own attribute


class PlainConfig:
    """The SSH configs of the user and of the system; ``source`` is the path of the user's config, for messages.

    ``usual_keys`` are the key files that apply if the config names none.
    """

    usual_keys = ("~/.ssh/id_rsa", "~/.ssh/id_ecdsa", "~/.ssh/id_ed25519")

    def __init__(self) -> None:
        """Read the files. Raises ``ConfigError`` if one is unreadable, or has a setting that only ``ssh`` supports."""
        path = home() / ".ssh" / "config"
        self.source = str(path)
        self._text = _text(path) + "\nHost *\n" + _text(SYSTEM)

    def settings(self, host: str, user: str | None = None, port: int | None = None) -> Settings:
        """Return the settings that the config has for ``ssh -l user -p port host``.

        ``hostname``, ``user`` and ``port`` are always among them, if necessary with their defaults. Raises
        ``ConfigError`` if paramiko cannot read the config, if a ``HostName`` has tokens that only ``ssh`` expands, or
        if the local account has no name.
        """
        given = (f"User {user}\n" if user else "") + (f"Port {port}\n" if port else "")
        user_name = _user_name()  # paramiko needs it as well
        try:
            entry = _Config.from_text(given + self._text).lookup(host)
        except (paramiko.SSHException, ValueError) as error:
            raise ConfigError(f"{self.source} cannot be used: {error}", "correct it") from None
        name = str(entry["hostname"])
        if "%%" in name or ("%" in name and ":" not in name):  # one may be in fe80::1%eth0
            raise _needs_ssh(f"{self.source} has the HostName {name!r}")
        first = next((key for key in entry if key in ROUTES), None)
        settings = Settings()
        for key, value in entry.items():
            if value is not None and (key not in ROUTES or key == first):
                settings[key] = [str(one) for one in (value if isinstance(value, list) else [value])]
        settings.setdefault("port", ["22"])
        settings.setdefault("user", [user_name])
        return settings


def _user_name() -> str:
    """Return the name of the local user. Raise ``ConfigError`` if the account has none."""
    try:
        return getpass.getuser()
    except (KeyError, OSError, ImportError):
        raise ConfigError("the local account has no user name", "set the environment variable LOGNAME") from None


def _needs_ssh(what: str) -> ConfigError:
    advice = "install it (`sudo apt install openssh-client`)"
    return ConfigError(f"{what}, which cannot be used without OpenSSH's client", advice)


def _text(path: Path) -> str:
    try:
        text = path.read_text(encoding="utf-8", errors="surrogateescape") if path.exists() else ""
    except OSError as error:
        raise ConfigError(f"{path} cannot be read: {error.strerror}", "make it readable, or delete it") from None
    for number, whole in enumerate(text.splitlines(), 1):
        line = whole.strip()
        for what in [] if line.startswith("#") else _not_known(line):
            raise _needs_ssh(f"{path} has {what} in line {number}")
    return text


def _not_known(line: str) -> Iterator[str]:
    """Yield the parts of a config's line that paramiko would ignore or misread, each as text for a message."""
    match = LINE.match(line)
    if match is None:
        return
    key, value = match[1].lower(), match[2]
    if key in COMMANDS:
        return
    if key in UNKNOWN and value.lower() not in {"no", "none"}:
        yield match[1]
    elif key in ALGORITHMS and re.search(r"^[-+^]|\*", value):
        yield f"a change of the usual {match[1]}"
    elif key == "match" and not _is_known_match(value):
        yield f"`Match {value}`"
    elif key in {"host", "match"} and "[" in value:
        yield "a bracket in a pattern"
    elif re.search(r"[#'\\]", value) or (value.count('"') and not re.fullmatch(r'"[^"]*"', value)):
        yield "a quote, backslash or comment in a value"


def _is_known_match(value: str) -> bool:
    """Return whether each criterion of a ``Match`` line is one that paramiko evaluates as OpenSSH does."""
    words = iter(value.split())
    return all(word == "all" or (word.removeprefix("!") in CRITERIA and next(words, "")) for word in words)
