"""A link with a delay, as a separate process: ``relay.py PORT SECONDS`` prints its port and relays until it is killed.

Data is passed on ``SECONDS`` after it arrived, in both directions. About ``HELD`` bytes can be in transit, more than
any window of the programs that use the link.
"""

from __future__ import annotations

import collections
import contextlib
import socket
import sys
import threading
import time

HELD = 64 << 20
PIECE = 1 << 18


class Way:
    """One direction of one connection."""

    def __init__(self, source: socket.socket, sink: socket.socket, delay: float) -> None:
        """Start relaying."""
        self._source, self._sink, self._delay = source, sink, delay
        self._changed = threading.Condition()
        self._held: collections.deque[tuple[float, bytes]] = collections.deque()
        self._bytes = 0
        for work in (self._take, self._give):
            threading.Thread(target=work, daemon=True).start()

    def _take(self) -> None:
        data = b"begin"
        while data:
            try:
                data = self._source.recv(PIECE)
            except OSError:
                data = b""
            with self._changed:
                while self._bytes > HELD:
                    self._changed.wait()
                self._held.append((time.monotonic() + self._delay, data))
                self._bytes += len(data)
                self._changed.notify_all()

    def _give(self) -> None:
        with contextlib.suppress(OSError):
            while True:
                with self._changed:
                    while not self._held:
                        self._changed.wait()
                    due, data = self._held.popleft()
                    self._bytes -= len(data)
                    self._changed.notify_all()
                time.sleep(max(0.0, due - time.monotonic()))
                if not data:
                    self._sink.shutdown(socket.SHUT_WR)
                    return
                self._sink.sendall(data)


def main() -> None:
    """Listen on a free port."""
    port, delay = int(sys.argv[1]), float(sys.argv[2])
    with socket.create_server(("127.0.0.1", 0)) as listener:
        print(listener.getsockname()[1], flush=True)
        while True:
            here, _ = listener.accept()
            there = socket.create_connection(("127.0.0.1", port))
            for one in (here, there):
                one.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            Way(here, there, delay)
            Way(there, here, delay)


if __name__ == "__main__":
    main()
