"""Sends the bytes of a large upload over an additional SSH channel, into a named pipe that the agent reads."""

from __future__ import annotations

import contextlib
import queue
import threading
from typing import TYPE_CHECKING

import paramiko

from hil.agent.protocol.wire import Silent, WireError
from hil.errors import LabError
from hil.targets.ssh.frame_channel import OVERHEAD, send_some

if TYPE_CHECKING:
    from hil.targets.ssh.connect import Connection

SCRIPT = '{ printf "%020d" $$; exec cat; } >"$1"'
"""Writes its process id into the pipe ``$1``, so that the agent can kill it, then copies stdin into the pipe."""
AHEAD = 2
WAIT = 0.5
POLL = 0.1  # seconds; how often a send that waits for the target looks whether the channel is being closed
IDLE = 3600.0  # seconds; an upload without a piece for this long was abandoned
LEAVE = 2.0


class SshUploadChannel:
    """Sends pieces in a thread of its own; ``put`` adds them to a short queue."""

    def __init__(self, connection: Connection, command: str, target: str) -> None:
        """Start ``command``. Raises ``ConnectionLost``."""
        self._target = target
        self._channel: paramiko.Channel = connection.execute(command)
        self._channel.settimeout(POLL)
        self._queue: queue.Queue[bytes] = queue.Queue(AHEAD)
        self._lost = threading.Event()
        self._thread = threading.Thread(target=self._send, name="hil-upload", daemon=True)
        self._thread.start()

    def put(self, piece: bytes) -> None:
        """Queue a piece; blocks while the queue is full. Raises ``LabError`` if the channel was lost."""
        while not self._queued(piece):
            if self._lost.is_set():
                raise LabError(f"a channel of the upload was lost: on target {self._target!r}: run again")

    def _queued(self, piece: bytes) -> bool:
        with contextlib.suppress(queue.Full):
            self._queue.put(piece, timeout=WAIT)
            return True
        return False

    def close(self) -> None:
        """Close the channel; pieces still queued are not sent. Waits a few seconds at most."""
        self._lost.set()
        with contextlib.suppress(queue.Full):
            self._queue.put_nowait(b"")
        self._thread.join(LEAVE)  # longer only on a broken connection

    def _send(self) -> None:
        with contextlib.suppress(WireError, queue.Empty):
            while not self._lost.is_set():
                self._send_piece(self._queue.get(timeout=IDLE))
        self._lost.set()
        # Closed by the thread that sends, since OpenSSH ends the whole connection if bytes follow the end of a channel.
        with contextlib.suppress(paramiko.SSHException, EOFError, OSError):
            self._channel.close()

    def _send_piece(self, piece: bytes) -> None:
        size, at = self._channel.out_max_packet_size - OVERHEAD, 0
        while at < len(piece) and not self._lost.is_set():
            with contextlib.suppress(Silent):
                at += send_some(self._channel, piece[at : at + size])
