"""The accounts of a board: ``hil`` logs in by key; root cannot log in."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pathlib import Path

    from tests.boards.root import Settings

USER = "hil"
ID = 10017
GROUPS = ("video", "render")
"""The groups that a JetPack user needs for access to the GPU."""

PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
"""Ubuntu's default ``PATH``, from ``/etc/environment``."""
SSHD = """\
Port 22
HostKey /etc/ssh/ssh_host_ed25519_key
AuthorizedKeysFile .ssh/authorized_keys
PasswordAuthentication no
KbdInteractiveAuthentication no
PermitRootLogin no
UsePAM no
UseDNS no
PrintMotd no
PidFile /run/sshd.pid
SetEnv {environment}
LogLevel VERBOSE
Subsystem sftp internal-sftp
"""


def make(root: Path, settings: Settings) -> None:
    """Create the user, its home folder and key, and the configuration of sshd."""
    etc = root / "etc"
    _append(etc / "passwd", f"{USER}:x:{ID}:{ID}::/home/{USER}:/bin/bash\n")
    # "*" matches no password and, unlike "!", does not lock the account.
    _append(etc / "shadow", f"{USER}:*:19000:0:99999:7:::\n")
    lines = (etc / "group").read_text(encoding="utf-8").splitlines()
    joined = [_joined(line) for line in lines]
    names = {line.split(":")[0] for line in lines}
    joined += [f"{name}:x:{ID + number}:{USER}" for number, name in enumerate(GROUPS, 1) if name not in names]
    (etc / "group").write_text("\n".join([*joined, f"{USER}:x:{ID}:"]) + "\n", encoding="utf-8")
    ssh = etc / "ssh"
    ssh.mkdir(exist_ok=True)
    _write(ssh / "sshd_config", SSHD.format(environment=f"PATH={PATH}"), 0o644)
    _write(ssh / "ssh_host_ed25519_key", settings.host_key, 0o600)
    home = root / "home" / USER
    home.mkdir(mode=0o755)
    os.chown(home, ID, ID)
    folders(home, home / ".ssh")
    _write(home / ".ssh/authorized_keys", settings.public_key, 0o600)
    os.chown(home / ".ssh/authorized_keys", ID, ID)
    (home / ".ssh").chmod(0o700)


def folders(home: Path, place: Path) -> None:
    """Create ``place`` and its parents below ``home``, owned by the user."""
    place.mkdir(parents=True, exist_ok=True)
    for folder in (place, *place.parents):
        if folder == home:
            break
        os.chown(folder, ID, ID)


def _joined(line: str) -> str:
    name, password, number, members = line.split(":")
    if name in GROUPS:
        members = ",".join(filter(None, (members, USER)))
    return f"{name}:{password}:{number}:{members}"


def _append(file: Path, line: str) -> None:
    with file.open("a", encoding="utf-8") as stream:
        stream.write(line)


def _write(file: Path, text: str, mode: int) -> None:
    file.write_text(text, encoding="utf-8")
    file.chmod(mode)
