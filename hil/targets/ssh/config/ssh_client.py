"""Gets the settings for a host from the installed ``ssh``, by ``ssh -G``."""

from __future__ import annotations

import functools
import os
import re
import signal
import subprocess
import tempfile
from typing import IO, TYPE_CHECKING

from hil.targets.ssh.config.home_folder import account_home, home
from hil.targets.ssh.config.settings import ConfigError, Settings
from hil.targets.words import QUOTED
from hil.text import clean

if TYPE_CHECKING:
    from collections.abc import Sequence

LONGEST = 30.0
"""Seconds that ``ssh -G`` may take: it may query name servers (``CanonicalizeHostname``) and run programs of ``Match
exec``."""

ASKED = ("C", "l", "L", "u")
"""The tokens whose values are requested from ssh, because they depend on its version: a hash, host names and the user.

The tokens are passed as the path of a control socket (``ControlPath``), which ``ssh -G`` prints with its tokens
expanded. No control socket is used."""

MOST = 1 << 20  # bytes of an answer that are read
NEEDED = ("hostname", "port", "user")


class SshClient:
    """The program ``ssh``, which reads its own config; ``source`` is the path of this config, for messages."""

    def __init__(self, program: str) -> None:
        """Store ``program``, the path of ``ssh``, without running it."""
        self.source = str(home() / ".ssh" / "config")
        self._program = program
        found = self.source if os.path.lexists(self.source) else "none"
        self._config = () if home() == account_home() else ("-F", found)

    def settings(self, host: str, user: str | None = None, port: int | None = None) -> Settings:
        """Return the settings that ssh would use for ``ssh -l user -p port host``.

        Raises ``ConfigError`` if ssh refuses the config, cannot be run, or does not answer in time.
        """
        asked = ("-o", f"ControlPath={'/'.join(f'%{token}' for token in ASKED)}")
        login = ("-l", user) if user else ()
        to = ("-p", str(port)) if port else ()
        settings = _answer([self._program, "-G", "-T", *asked, *self._config, *login, *to, "--", host], self.source)
        if settings.get("identityfile") == list(_usual_keys(self._program)):
            del settings["identityfile"]
        if self._config:  # ssh has put the account's home for "~"
            ours = re.compile(rf"(?:^|(?<= )){re.escape(str(account_home()))}(?=/)")
            for key in {"userknownhostsfile", "identityagent"} & set(settings):
                settings[key] = [ours.sub(lambda _: str(home()), files) for files in settings[key]]
        return settings

    @property
    def usual_keys(self) -> Sequence[str]:
        """The key files that this ssh tries if the config names none."""
        return _usual_keys(self._program)


@functools.cache
def _usual_keys(program: str) -> Sequence[str]:
    return tuple(_answer([program, "-G", "-T", "-F", "none", "--", "localhost"], "no config").get("identityfile", ()))


def _answer(command: Sequence[str], source: str) -> Settings:
    # Files instead of pipes, because what a program of Match exec leaves behind may keep a pipe open.
    with tempfile.TemporaryFile() as printed, tempfile.TemporaryFile() as noted:
        code = _run(command, source, printed.fileno(), noted.fileno())
        out, err = (_content(file) for file in (printed, noted))
    if code:
        words = [clean(line.strip(), QUOTED) for line in err.splitlines() if line.strip()]
        what = f"ssh refuses {source}: {'; '.join(words) or f'exit status {code}'}"
        raise ConfigError(what, "correct these lines, or install an OpenSSH that knows them")
    settings = Settings()
    for line in out.splitlines():
        name, _, value = line.partition(" ")
        settings.setdefault(name.lower(), []).append(value)
    if any(not settings.first(name) for name in NEEDED):
        what = f"ssh -G did not print the settings that {source} has for {command[-1]!r}"
        raise ConfigError(what, "install another OpenSSH")
    return settings


def _content(file: IO[bytes]) -> str:
    file.seek(0)
    return file.read(MOST).decode("utf-8", "surrogateescape")


def _run(command: Sequence[str], source: str, out: int, err: int) -> int:
    """Run ``command`` with its output in the files ``out`` and ``err`` (descriptors), and return its exit status.

    Raise ``ConfigError`` if it cannot be run or takes longer than ``LONGEST``; ``source`` is the config, for messages.
    """
    try:
        # A session of its own: nothing can ask at the terminal, and a program of the config can be ended with ssh.
        process = subprocess.Popen(  # noqa: S603 - no shell, and the host is behind "--"
            command, stdin=subprocess.DEVNULL, stdout=out, stderr=err, start_new_session=True
        )
    except OSError as error:
        raise ConfigError(f"{command[0]} cannot be run: {error.strerror}", "repair OpenSSH's client") from None
    try:
        return process.wait(LONGEST)
    except subprocess.TimeoutExpired:
        what = f"ssh -G did not print within {LONGEST:g} s the settings that {source} has for {command[-1]!r}"
        raise ConfigError(what, "look for a program of Match exec, or a name server, that does not answer") from None
    finally:
        if process.poll() is None:
            os.killpg(process.pid, signal.SIGKILL)
            process.wait()
