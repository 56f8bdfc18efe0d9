"""Asks the installed ``ssh`` what a config says of a host, where the config has criteria that only OpenSSH knows."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from pathlib import Path
from typing import TYPE_CHECKING, Any

from hil.errors import UserError

if TYPE_CHECKING:
    from collections.abc import Mapping

LONGEST = 20.0
"""Seconds: with ``CanonicalizeHostname``, ssh asks name servers."""

UNASKED = ("exec", "include")
"""Words that no config has for which ssh is asked: it might run a command, or read a file that may ask for one."""

FILES = {"identityfile", "userknownhostsfile", "globalknownhostsfile"}
"""Keys that ssh answers also if the config does not have them: with the usual files, of which we know our own."""

WITHOUT_TERMINAL = "Pseudo-terminal"
"""The first word of a note that ssh writes besides its answer."""


def settings_of(path: Path, host: str) -> Mapping[str, Any] | None:
    """Return the settings of ``host`` in the config at ``path``, as ``paramiko.SSHConfig.lookup`` does.

    ``None`` if there is no ``ssh`` here, if it does not answer, or if it might run a command of the config, as it does
    for ``Match exec``. Raises ``UserError`` with ssh's words if it refuses the config.
    """
    text = path.read_text(encoding="utf-8", errors="replace").lower()
    ssh = None if any(word in text for word in UNASKED) else shutil.which("ssh")
    given, usual = (None, None) if ssh is None else (_answer(ssh, path, host), _answer(ssh, os.devnull, host))
    if given is None or usual is None:
        return None
    written = {key: values for key, values in given.items() if key not in FILES or values != usual.get(key)}
    settings: dict[str, Any] = {key: values[0] for key, values in written.items()}
    if "identityfile" in written:
        tokens = {"%": "%", "d": str(Path.home()), "h": settings["hostname"], "n": host, "p": settings["port"]}
        tokens |= {"r": settings["user"], "u": usual["user"][0]}
        files = written["identityfile"]
        settings["identityfile"] = [re.sub("%(.)", lambda at: tokens.get(at[1], at[0]), file) for file in files]
    return settings


def _answer(ssh: str, path: Path | str, host: str) -> dict[str, list[str]] | None:
    """Return the values by key that ``ssh -G`` prints; ``None`` if it cannot be run or does not end in time.

    Raises ``UserError`` with ssh's words if it refuses the config.
    """
    command = [ssh, "-G", "-F", str(path), "--", host]
    try:
        answer = subprocess.run(  # noqa: S603 - no shell, and the host is behind "--"
            command, stdin=subprocess.DEVNULL, capture_output=True, timeout=LONGEST, check=False
        )
    except (OSError, subprocess.TimeoutExpired):
        return None
    printed, noted = (
        stream.decode("utf-8", "surrogateescape").splitlines() for stream in (answer.stdout, answer.stderr)
    )
    if answer.returncode:
        words = "; ".join(line.strip() for line in noted if not line.startswith(WITHOUT_TERMINAL))
        raise UserError(f"ssh refuses {path}: {words}")
    settings: dict[str, list[str]] = {}
    for line in printed:
        key, _, value = line.partition(" ")
        settings.setdefault(key, []).append(value)
    return settings
