"""A TCP relay in front of a board that can delay, stall and reset connections.

``python -m tests.boards.relay HOST PORT DELAY`` prints its port and reads commands, one per line: ``stall``,
``resume``, ``cut`` and ``received``.
"""

from __future__ import annotations

import contextlib
import os
import queue
import socket
import struct
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

REPOSITORY = Path(__file__).parents[2]
PIECE = 1 << 18
PIECES = 512
"""Maximum number of pieces in transit per direction: 128 MiB, more than any test needs during its delay."""


class Relay:
    """A relay process to ``target``; unpacks to its own (host, port). ``delay`` is in seconds per round trip."""

    def __init__(self, target: str, port: int, delay: float) -> None:
        argv = (sys.executable, "-S", "-m", "tests.boards.relay", target, str(port), str(delay))
        pipe = subprocess.PIPE
        self._process = subprocess.Popen(argv, cwd=REPOSITORY, stdin=pipe, stdout=pipe, text=True)
        self.host = "127.0.0.1"
        self.port = int(self._send(None))

    def __iter__(self) -> Iterator[str | int]:
        return iter((self.host, self.port))

    def _send(self, line: str | None) -> str:
        if self._process.stdin is None or self._process.stdout is None:
            raise TypeError("the relay was started without pipes")
        if line is not None:
            self._process.stdin.write(line + "\n")
            self._process.stdin.flush()
        return self._process.stdout.readline().strip()

    def stall(self) -> None:
        """Stop forwarding, without closing connections."""
        self._send("stall")

    def resume(self) -> None:
        """Forward again, starting with the held data."""
        self._send("resume")

    def cut(self) -> None:
        """Reset all connections; new ones are accepted."""
        self._send("cut")

    def received(self) -> int:
        """Return the number of bytes received for the board so far."""
        return int(self._send("received"))

    def close(self) -> None:
        """Stop the relay."""
        if self._process.stdin is not None and self._process.stdout is not None:
            self._process.stdin.close()
            self._process.wait(10)
            self._process.stdout.close()


class Pump:
    """Forwards bytes in one direction, each ``delay`` seconds after it was read."""

    def __init__(self, source: socket.socket, sink: socket.socket, delay: float, flowing: threading.Event) -> None:
        self.count = 0
        self._source, self._sink, self._delay, self._flowing = source, sink, delay, flowing
        self._pieces: queue.Queue[tuple[float, bytes]] = queue.Queue(PIECES)
        for work in (self._read, self._write):
            threading.Thread(target=work, daemon=True).start()

    def _read(self) -> None:
        data = b"-"
        while data:
            try:
                data = self._source.recv(PIECE)
            except OSError:
                data = b""
            self.count += len(data)
            self._pieces.put((time.monotonic() + self._delay, data))

    def _write(self) -> None:
        while True:
            due, data = self._pieces.get()
            time.sleep(max(0.0, due - time.monotonic()))
            self._flowing.wait()
            try:
                if not data:
                    self._sink.shutdown(socket.SHUT_WR)
                    return
                self._sink.sendall(data)
            except OSError:
                # The receiver has closed: let the sender notice.
                with contextlib.suppress(OSError):
                    self._source.shutdown(socket.SHUT_RDWR)
                return


def _without_delay(connection: socket.socket) -> socket.socket:
    connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    return connection


def _reset(connection: socket.socket) -> None:
    """Close with a TCP reset instead of FIN; threads that read from the socket wake up."""
    with contextlib.suppress(OSError):
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        # shutdown() would send a FIN first; disconnecting by AF_UNSPEC aborts at once (connect(2)).
        _disconnect(connection.fileno())
        connection.close()


def _disconnect(number: int) -> None:
    import ctypes

    ctypes.CDLL(None).connect(number, struct.pack("h14x", socket.AF_UNSPEC), 16)


def serve(host: str, port: int, delay: float) -> None:
    """Relay connections until standard input ends."""
    listener = socket.create_server(("127.0.0.1", 0), backlog=64)
    flowing = threading.Event()
    flowing.set()
    sockets: list[socket.socket] = []
    pumps: list[Pump] = []

    def accept() -> None:
        while True:
            near, _ = listener.accept()
            try:
                far = socket.create_connection((host, port), 20)
            except OSError:
                _reset(near)
                continue
            far.settimeout(None)
            sockets.extend((_without_delay(near), _without_delay(far)))
            pumps.append(Pump(near, far, delay / 2, flowing))
            Pump(far, near, delay / 2, flowing)

    threading.Thread(target=accept, daemon=True).start()
    _print(listener.getsockname()[1])
    for line in sys.stdin:
        word = line.strip()
        if word == "stall":
            flowing.clear()
        elif word == "resume":
            flowing.set()
        elif word == "cut":
            while sockets:
                _reset(sockets.pop())
            flowing.set()
        _print(sum(pump.count for pump in pumps) if word == "received" else "done")
    os._exit(0)


def _print(word: object) -> None:
    sys.stdout.write(f"{word}\n")
    sys.stdout.flush()


if __name__ == "__main__":
    serve(sys.argv[1], int(sys.argv[2]), float(sys.argv[3]))
