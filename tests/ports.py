"""A port for a server that a test starts."""

from __future__ import annotations

import fcntl
import os
import random
import socket
import tempfile
from pathlib import Path

_held: list[int] = []
"""Descriptors of the lock files of this process's ports; they stay open until the process ends."""


def free_port() -> int:
    """Return a port of 127.0.0.1 on which nothing listens, and which the system assigns to no client.

    While this process lives, no other process gets this port from this function.
    """
    folder = Path(tempfile.gettempdir()) / f"hil-test-ports-{os.getuid()}"
    folder.mkdir(exist_ok=True)
    while True:
        # Linux assigns ports from 32768 to clients, so one of those may be in use before the server binds it.
        port = random.randrange(10_000, 32_000)  # noqa: S311 - a port is no secret
        lock = os.open(folder / str(port), os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            with socket.create_server(("127.0.0.1", port)):
                _held.append(lock)
                return port
        except OSError:
            os.close(lock)
