"""A port for a server that a test starts."""

from __future__ import annotations

import random
import socket


def free_port() -> int:
    """Return a port of 127.0.0.1 on which nothing listens, and which the system assigns to no client."""
    while True:
        # Linux assigns ports from 32768 to clients, so one of those may be in use before the server binds it.
        port = random.randrange(10_000, 32_000)  # noqa: S311 - a port is no secret
        try:
            with socket.create_server(("127.0.0.1", port)):
                return port
        except OSError:
            continue
