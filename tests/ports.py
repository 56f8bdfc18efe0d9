"""A port for a server that a test starts."""

from __future__ import annotations

import random
import socket


def free_port() -> int:
    """Return a port of 127.0.0.1 on which nothing listens; no client's connection takes it before the server does."""
    while True:
        # Linux gives clients ports from 32768 on: a port from there may be gone before the server binds it.
        port = random.randrange(10_000, 32_000)  # noqa: S311 - a port is no secret
        try:
            with socket.create_server(("127.0.0.1", port)):
                return port
        except OSError:
            continue
