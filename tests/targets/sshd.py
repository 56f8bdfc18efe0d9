"""A real sshd of this user's own on localhost, and what may stand between it and a client."""

from __future__ import annotations

import contextlib
import getpass
import os
import shutil
import socket
import subprocess
import threading
import time
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from collections.abc import Callable

    from typing_extensions import Self

USER = getpass.getuser()


def call(*argv: str) -> str:
    """What a program of this machine prints; it has to succeed."""
    return subprocess.run(argv, check=True, capture_output=True, text=True).stdout


def free_port() -> int:
    """A port that nobody listens on."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        return int(listener.getsockname()[1])


def make_key(path: Path, *options: str) -> Path:
    """A key pair; ``ssh-keygen``'s ``options`` (ed25519 without a passphrase else)."""
    given = options or ("-t", "ed25519", "-N", "")
    call("ssh-keygen", "-q", *given, "-C", "test", "-f", str(path))
    return path


class Server:
    """An sshd with a host key of its own; ``options`` are further lines of its config."""

    def __init__(self, folder: Path, authorized: Path, *options: str, key: Path | None = None) -> None:
        """Starts it. ``authorized`` is the public key that it lets in."""
        program = shutil.which("sshd", path=f"{os.environ.get('PATH', '')}:/usr/sbin")
        if program is None:
            pytest.skip("sshd is not there: install openssh-server")
        folder.mkdir()
        self.port = free_port()
        self.key = key or make_key(folder / "host_key")
        self._log = folder / "log"
        config = folder / "sshd_config"
        lines = [
            f"Port {self.port}",
            "ListenAddress 127.0.0.1",
            f"HostKey {self.key}",
            f"AuthorizedKeysFile {authorized}",
            "PidFile none",
            "StrictModes no",
            "UsePAM no",
            "PasswordAuthentication no",
            "KbdInteractiveAuthentication no",
        ]
        config.write_text("\n".join([*options, *lines]) + "\n")
        if os.getuid() == 0:  # where Debian's sshd goes before anybody is logged in
            Path("/run/sshd").mkdir(exist_ok=True)
        command = [program, "-D", "-e", "-f", str(config)]
        with self._log.open("wb") as log:
            self.process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stderr=log, start_new_session=True)
        ends = time.monotonic() + 10
        while b"Server listening" not in self._log.read_bytes():
            assert self.process.poll() is None, self.log()
            assert time.monotonic() < ends, self.log()
            time.sleep(0.01)

    def log(self) -> str:
        """What it wrote."""
        return self._log.read_text()

    def known_line(self, name: str = "") -> str:
        """The line of ``known_hosts`` that makes it known."""
        words = self.key.with_name(self.key.name + ".pub").read_text().split()
        return f"{name or f'[127.0.0.1]:{self.port}'} {words[0]} {words[1]}\n"

    def stop(self) -> None:
        """Ends it; connections that stand go on."""
        self.process.terminate()
        self.process.wait()


class Relay:
    """Passes bytes between clients and ``port``; may stop to, or break off after so many bytes upwards."""

    def __init__(self, port: int, break_after: int | None = None) -> None:
        """Listens on a port of its own."""
        self._to = port
        self.left = break_after
        self._moving = threading.Event()
        self._moving.set()
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port = int(self._listener.getsockname()[1])
        self._sockets: list[socket.socket] = []
        threading.Thread(target=self._accept, daemon=True).start()

    def __enter__(self) -> Self:
        """Closes it in the end."""
        return self

    def __exit__(self, *_: object) -> None:
        """Closes everything."""
        self._moving.set()
        self._listener.close()
        self.cut()

    def stall(self) -> None:
        """Passes nothing on from here, and closes nothing."""
        self._moving.clear()

    def cut(self) -> None:
        """Breaks every connection."""
        for one in self._sockets:
            with contextlib.suppress(OSError):
                one.shutdown(socket.SHUT_RDWR)
            one.close()

    def _accept(self) -> None:
        with contextlib.suppress(OSError):
            while True:
                here, _ = self._listener.accept()
                there = socket.create_connection(("127.0.0.1", self._to))
                self._sockets += [here, there]
                for one, other, counted in ((here, there, True), (there, here, False)):
                    threading.Thread(target=self._pass, args=(one, other, counted), daemon=True).start()

    def _pass(self, one: socket.socket, other: socket.socket, counted: bool) -> None:
        with contextlib.suppress(OSError):
            while data := one.recv(1 << 16):
                self._moving.wait()
                other.sendall(data)
                if counted and self.left is not None:
                    self.left -= len(data)
                    if self.left < 0:
                        self.cut()
                        return
            other.shutdown(socket.SHUT_WR)


class Speaker:
    """Listens, says ``words`` to whoever comes, and then keeps silent or closes."""

    def __init__(self, words: bytes, *, close: bool = False) -> None:
        """Listens on a port of its own."""
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port = int(self._listener.getsockname()[1])
        self._kept: list[socket.socket] = []
        self._words = words
        self._close = close
        threading.Thread(target=self._serve, daemon=True).start()

    def _serve(self) -> None:
        with contextlib.suppress(OSError):
            while True:
                client, _ = self._listener.accept()
                self._kept.append(client)
                client.sendall(self._words)
                if self._close:
                    client.close()

    def __enter__(self) -> Self:
        """Closes it in the end."""
        return self

    def __exit__(self, *_: object) -> None:
        """Closes everything."""
        self._listener.close()
        for one in self._kept:
            one.close()


def ends_within(seconds: float, is_so: Callable[[], bool]) -> bool:
    """Whether ``is_so`` becomes true in time."""
    until = time.monotonic() + seconds
    while not is_so():
        if time.monotonic() > until:
            return False
        time.sleep(0.02)
    return True
