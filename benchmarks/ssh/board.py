"""A real sshd of this user on localhost in place of a board, and connections to it with and without a delay."""

from __future__ import annotations

import getpass
import os
import shutil
import socket
import subprocess
import sys
import time
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from hil.config.spec import TargetSpec

if TYPE_CHECKING:
    from collections.abc import Iterator

USER = getpass.getuser()
SFTP = ("/usr/lib/openssh/sftp-server", "/usr/libexec/openssh/sftp-server", "/usr/lib/ssh/sftp-server")
"""Where distributions install the sftp server that scp uses."""


def program(name: str) -> str:
    """Return the path of one of OpenSSH's programs. Raise ``SystemExit`` if it is not installed."""
    path = shutil.which(name, path=f"{os.environ.get('PATH', '')}:/usr/sbin")
    if path is None:
        sys.exit(f"{name} is not installed, so nothing can be measured: install OpenSSH's client and server")
    return path


class Board:
    """An sshd with its files below ``folder``, which accepts this user's key; ``close`` ends it and its relays."""

    def __init__(self, folder: Path) -> None:
        """Start the sshd. Raise ``SystemExit`` if OpenSSH's server is not installed."""
        self.folder = folder
        folder.mkdir()
        for name in ("host", "user"):
            command = [program("ssh-keygen"), "-q", "-t", "ed25519", "-N", "", "-f", str(folder / name)]
            subprocess.run(command, check=True)
        with socket.create_server(("127.0.0.1", 0)) as listener:
            self.port = int(listener.getsockname()[1])
        (folder / "config").write_text(self._config(), encoding="utf-8")
        if os.getuid() == 0:  # Debian's sshd changes to this folder before a login
            Path("/run/sshd").mkdir(exist_ok=True)
        command = [program("sshd"), "-D", "-e", "-f", str(folder / "config")]
        with (folder / "log").open("wb") as log:
            started = subprocess.Popen(command, stdin=subprocess.DEVNULL, stderr=log, start_new_session=True)
        self._processes: list[subprocess.Popen[bytes]] = [started]
        self._wait()

    def _config(self) -> str:
        sftp = next((path for path in SFTP if Path(path).exists()), "internal-sftp")
        lines = [f"Port {self.port}", "ListenAddress 127.0.0.1", f"HostKey {self.folder / 'host'}"]
        lines += [f"AuthorizedKeysFile {self.folder / 'user.pub'}", "PidFile none", "StrictModes no", "UsePAM no"]
        lines += ["PasswordAuthentication no", "KbdInteractiveAuthentication no", f"Subsystem sftp {sftp}"]
        return "\n".join(lines) + "\n"

    def _wait(self) -> None:
        until = time.monotonic() + 10
        while b"Server listening" not in (self.folder / "log").read_bytes():
            if self._processes[0].poll() is not None or time.monotonic() > until:
                sys.exit(f"sshd did not start: {(self.folder / 'log').read_text()}")
            time.sleep(0.02)

    def way(self, delay: float, *, relayed: bool = False) -> Way:
        """Return a connection with ``delay`` seconds each way; ``relayed`` uses a relay even without a delay."""
        port = self.port
        if delay or relayed:
            command = [sys.executable, str(Path(__file__).with_name("relay.py")), str(port), str(delay)]
            process = subprocess.Popen(command, stdout=subprocess.PIPE)
            self._processes.append(process)
            if process.stdout is None:
                raise AssertionError("the process has no pipe")
            port = int(process.stdout.readline())
        return Way(self, port, delay)

    def close(self) -> None:
        """End the sshd and the relays."""
        for process in self._processes:
            process.terminate()
            process.communicate()


class Way:
    """A connection to the board through ``port``; ``known_hosts`` has the board's key."""

    def __init__(self, board: Board, port: int, delay: float) -> None:
        """Write ``known_hosts``."""
        self.board, self.port, self.delay = board, port, delay
        self.known_hosts = board.folder / f"known_hosts-{port}"
        words = (board.folder / "host.pub").read_text(encoding="ascii").split()
        self.known_hosts.write_text(f"[127.0.0.1]:{port} {words[0]} {words[1]}\n", encoding="ascii")

    @property
    def name(self) -> str:
        """The round trip as text."""
        return f"{2000 * self.delay:.0f} ms"

    def spec(self, **keys: object) -> TargetSpec:
        """Return the board as a target; ``keys`` override its keys."""
        known = {"identity": str(self.board.folder / "user"), "known_hosts": str(self.known_hosts), "user": USER}
        where = {"kind": "ssh", "host": "127.0.0.1", "port": self.port, "python": sys.executable}
        return TargetSpec.model_validate({**where, **known, **keys})

    def options(self) -> list[str]:
        """Return the options of ``ssh`` and ``scp``: user, key and port; cipher and windows are the defaults."""
        options = {"IdentityFile": self.board.folder / "user", "IdentitiesOnly": "yes", "Port": self.port}
        options |= {"UserKnownHostsFile": self.known_hosts, "BatchMode": "yes"}
        return ["-F", "none", *(word for key, value in options.items() for word in ("-o", f"{key}={value}"))]


@contextmanager
def board(folder: Path) -> Iterator[Board]:
    """Yield a board, and close it at the end."""
    made = Board(folder)
    try:
        yield made
    finally:
        made.close()
