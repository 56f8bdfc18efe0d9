"""Sends and receives protocol frames directly over a paramiko channel, without a pipe or a thread in between."""

from __future__ import annotations

import threading
import time
from typing import TYPE_CHECKING

import paramiko

from hil.agent.protocol.channel import Frames
from hil.agent.protocol.wire import Closed, Silent, WireError

if TYPE_CHECKING:
    from collections.abc import Callable

ALL = 1 << 31  # read all that has arrived: paramiko's buffer copies its rest for each partial read
CHECKS = 4  # times that signs of life are checked within the patience
OVERHEAD = 64  # bytes of a packet that paramiko reserves


class SshChannel(Frames):
    """Frames over ``channel``; one thread may send while another receives.

    The other side counts as alive whenever it sends data or enlarges the channel's window.
    """

    def __init__(self, channel: paramiko.Channel, patience: float | None = None) -> None:
        """Take over ``channel``; ``patience`` is the initial value of the property."""
        self._channel = channel
        self._rest = memoryview(b"")
        # One packet's worth of bytes: paramiko copies its argument but sends only the first packet of it.
        self._piece = channel.out_max_packet_size - OVERHEAD
        self._granted = channel.out_window_size
        self._sent = 0
        super().__init__(patience)

    @property
    def patience(self) -> float | None:
        """Seconds without data or a larger window after which the channel counts as lost; ``None`` means never."""
        return self._patience

    @patience.setter
    def patience(self, seconds: float | None) -> None:
        self._patience = seconds
        self._channel.settimeout(None if seconds is None else seconds / CHECKS)

    def _fill(self, view: memoryview, *, closing: bool = False) -> bool:
        at = 0
        while at < len(view):
            if not self._rest:
                self._rest = memoryview(self._received())
                if not self._rest:
                    if closing and at == 0:
                        return False
                    raise WireError("the stream ended in the middle of a frame")
                self.came = self.moved = time.monotonic()
            count = min(len(self._rest), len(view) - at)
            view[at : at + count] = self._rest[:count]
            self._rest = self._rest[count:]
            at += count
        return True

    def _received(self) -> bytes:
        began, data = time.monotonic(), None
        while data is None:
            data = self._receive_some(began)
        return data

    def _receive_some(self, began: float) -> bytes | None:
        try:
            return bytes(self._channel.recv(ALL))
        except TimeoutError:
            self._check_silence(began)
            return None
        except (paramiko.SSHException, EOFError, OSError) as error:
            raise _closed(error) from None

    def _write(self, view: memoryview) -> None:
        for at in range(0, len(view), self._piece):
            piece, began = bytes(view[at : at + self._piece]), time.monotonic()
            while piece:
                piece = piece[self._send_some(piece, began) :]

    def _send_some(self, piece: bytes, began: float) -> int:
        try:
            sent = send_some(self._channel, piece)
        except Silent:
            self._check_silence(began)
            return 0
        self._sent += sent
        return sent

    def _check_silence(self, began: float) -> None:
        """Raise ``Silent`` if nothing came from the other side for ``patience`` seconds, counted from ``began`` on."""
        granted = self._channel.out_window_size + self._sent
        if granted > self._granted:
            self._granted = granted
            self.moved = time.monotonic()
        patience = self.patience or 0.0
        if time.monotonic() - max(self.moved, began) >= patience:
            raise Silent(f"no data was transferred for {patience:g} s")


def send_all(channel: paramiko.Channel, piece: bytes) -> None:
    """Send all of ``piece``. Raises ``Silent`` after the channel's timeout, ``Closed`` if the channel is closed."""
    while piece:
        piece = piece[send_some(channel, piece) :]


def send_some(channel: paramiko.Channel, piece: bytes) -> int:
    """Send the beginning of ``piece``; return the number of bytes sent. Raises like ``send_all``."""
    try:
        sent = int(channel.send(piece))
    except TimeoutError:
        raise Silent(f"no data was transferred for {channel.gettimeout() or 0:g} s") from None
    except (paramiko.SSHException, EOFError, OSError) as error:
        raise _closed(error) from None
    if not sent:
        raise Closed("the channel is closed")
    return sent


def _closed(error: Exception) -> Closed:
    return Closed(f"the channel was lost: {str(error) or 'the connection broke'}")


class Tunnel:
    """A channel with the interface of a socket, for the transport of the next hop."""

    def __init__(self, channel: paramiko.Channel) -> None:
        """Take over ``channel``."""
        self._channel = channel
        self._rest = memoryview(b"")

    @property
    def _closed(self) -> bool:
        """Whether the channel is closed; paramiko reads this attribute of its socket."""
        return bool(self._channel.closed)

    def settimeout(self, seconds: float | None) -> None:
        """Set the timeout, like ``socket.settimeout``."""
        self._channel.settimeout(seconds)

    def recv(self, size: int) -> bytes:
        """Receive at most ``size`` bytes, like ``socket.recv``."""
        if not self._rest:
            self._rest = memoryview(self._channel.recv(ALL))
        part, self._rest = self._rest[:size], self._rest[size:]
        return bytes(part)

    def send(self, data: bytes) -> int:
        """Send some of ``data``, like ``socket.send``."""
        return int(self._channel.send(data))

    def close(self) -> None:
        """Close the channel; waits at most a second for a broken connection."""
        within(1.0, self._channel.close)


def within(seconds: float, action: Callable[[], object]) -> None:
    """Run ``action`` in a thread, and return when it ends or after ``seconds``; ignore the connection's errors."""
    thread = threading.Thread(target=_quietly, args=(action,), name="hil-ssh-ending", daemon=True)
    thread.start()
    thread.join(seconds)


def _quietly(action: Callable[[], object]) -> None:
    try:
        action()
    except (paramiko.SSHException, EOFError, OSError, WireError):
        return
