"""A real sshd on localhost, run by this user; a relay between it and a client; and a fake server."""

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

from tests.ports import free_port

if TYPE_CHECKING:
    from collections.abc import Callable

    from typing_extensions import Self

USER = getpass.getuser()


def call(*argv: str) -> str:
    """Run a program and return its output; raises if it fails."""
    return subprocess.run(argv, check=True, capture_output=True, text=True).stdout


def make_key(path: Path, *options: str) -> Path:
    """Create a key pair with ``ssh-keygen``'s ``options`` (default: ed25519 without a passphrase)."""
    chosen = options or ("-t", "ed25519", "-N", "")
    call("ssh-keygen", "-q", *chosen, "-C", "test", "-f", str(path))
    return path


class Server:
    """An sshd with its own host key; ``options`` are additional lines of its config."""

    def __init__(self, folder: Path, authorized: Path, *options: str, key: Path | None = None) -> None:
        """Start the server, which accepts the public key ``authorized``."""
        program = shutil.which("sshd", path=f"{os.environ.get('PATH', '')}:/usr/sbin")
        if program is None:
            pytest.skip("sshd is not installed: install openssh-server")
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
        if os.getuid() == 0:  # Debian's sshd needs this folder for privilege separation
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
        """Return the server's log."""
        return self._log.read_text()

    def known_line(self, name: str = "") -> str:
        """Return the ``known_hosts`` line with the server's key."""
        words = self.key.with_name(self.key.name + ".pub").read_text().split()
        return f"{name or f'[127.0.0.1]:{self.port}'} {words[0]} {words[1]}\n"

    def stop(self) -> None:
        """End the listener; open connections continue."""
        self.process.terminate()
        self.process.wait()


class Relay:
    """Forwards bytes between clients and ``port``; can stall, or disconnect after ``break_after`` client bytes."""

    def __init__(self, port: int, break_after: int | None = None) -> None:
        """Listen on a free port."""
        self._to = port
        self.left = break_after
        self._moving = threading.Event()
        self._moving.set()
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port = int(self._listener.getsockname()[1])
        self._sockets: list[socket.socket] = []
        threading.Thread(target=self._accept, daemon=True).start()

    def __enter__(self) -> Self:
        """Return this relay."""
        return self

    def __exit__(self, *_: object) -> None:
        """Close the listener and every connection."""
        self._moving.set()
        self._listener.close()
        self.cut()

    def stall(self) -> None:
        """Forward nothing from now on, but keep the connections open."""
        self._moving.clear()

    def cut(self) -> None:
        """Disconnect every connection."""
        for sock in self._sockets:
            with contextlib.suppress(OSError):
                sock.shutdown(socket.SHUT_RDWR)
            sock.close()

    def _accept(self) -> None:
        with contextlib.suppress(OSError):
            while True:
                client, _ = self._listener.accept()
                server = socket.create_connection(("127.0.0.1", self._to))
                self._sockets += [client, server]
                for source, sink, counted in ((client, server, True), (server, client, False)):
                    threading.Thread(target=self._pass, args=(source, sink, counted), daemon=True).start()

    def _pass(self, source: socket.socket, sink: socket.socket, counted: bool) -> None:
        with contextlib.suppress(OSError):
            while data := source.recv(1 << 16):
                self._moving.wait()
                sink.sendall(data)
                if counted and self.left is not None:
                    self.left -= len(data)
                    if self.left < 0:
                        self.cut()
                        return
            sink.shutdown(socket.SHUT_WR)


class Speaker:
    """A server that sends ``words`` to each client, and then stays silent or disconnects."""

    def __init__(self, words: bytes, *, close: bool = False) -> None:
        """Listen on a free port."""
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port = int(self._listener.getsockname()[1])
        self._clients: list[socket.socket] = []
        self._words = words
        self._close = close
        threading.Thread(target=self._serve, daemon=True).start()

    def _serve(self) -> None:
        with contextlib.suppress(OSError):
            while True:
                client, _ = self._listener.accept()
                self._clients.append(client)
                client.sendall(self._words)
                if self._close:
                    client.close()

    def __enter__(self) -> Self:
        """Return this server."""
        return self

    def __exit__(self, *_: object) -> None:
        """Close the listener and every connection."""
        self._listener.close()
        for client in self._clients:
            client.close()


def becomes_true(seconds: float, condition: Callable[[], bool]) -> bool:
    """Return whether ``condition`` becomes true within ``seconds``."""
    until = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > until:
            return False
        time.sleep(0.02)
    return True
