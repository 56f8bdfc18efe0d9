"""Frames straight over a paramiko channel: no pipe and no thread of ours between."""

from __future__ import annotations

import threading
import time
from typing import TYPE_CHECKING

import paramiko

from hil.agent.protocol.channel import Frames
from hil.agent.protocol.wire import Closed, Silent, WireError

if TYPE_CHECKING:
    from collections.abc import Callable

ALL = 1 << 31  # whatever has come: paramiko's buffer moves all that it keeps for each part that is taken
LOOKS = 4  # signs of life are looked for so many times within one's patience
OVERHEAD = 64  # what paramiko leaves free in a packet


class SshChannel(Frames):
    """Frames over ``channel``; one thread may send while another receives.

    Alive is who sends, or takes what we send: that shows as more room in the channel's window, which only the other
    side gives. What merely left us shows nothing, a link that is down swallows it.
    """

    def __init__(self, channel: paramiko.Channel, patience: float | None = None) -> None:
        """Takes the channel over; ``patience`` in seconds."""
        self._channel = channel
        self._rest = memoryview(b"")
        # Bytes of just a packet each: paramiko copies what it is given, and of more than a packet sends the first.
        self._piece = channel.out_max_packet_size - OVERHEAD
        self._granted = channel.out_window_size
        self._sent = 0
        super().__init__(patience)

    @property
    def patience(self) -> float | None:
        """Seconds for which nothing need move; ``None`` waits for ever."""
        return self._patience

    @patience.setter
    def patience(self, seconds: float | None) -> None:
        self._patience = seconds
        self._channel.settimeout(None if seconds is None else seconds / LOOKS)

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
        began, came = time.monotonic(), None
        while came is None:
            came = self._come(began)
        return came

    def _come(self, began: float) -> bytes | None:
        try:
            return bytes(self._channel.recv(ALL))
        except TimeoutError:
            self._judge_silence(began)
            return None
        except (paramiko.SSHException, EOFError, OSError) as error:
            raise _closed(error) from None

    def _write(self, view: memoryview) -> None:
        for at in range(0, len(view), self._piece):
            piece, began = bytes(view[at : at + self._piece]), time.monotonic()
            while piece:
                piece = piece[self._go(piece, began) :]

    def _go(self, piece: bytes, began: float) -> int:
        try:
            sent = send_some(self._channel, piece)
        except Silent:
            self._judge_silence(began)
            return 0
        self._sent += sent
        return sent

    def _judge_silence(self, began: float) -> None:
        """Since ``began`` or the last sign of life, whichever thread saw it. Raises ``Silent``."""
        granted = self._channel.out_window_size + self._sent
        if granted > self._granted:
            self._granted = granted
            self.moved = time.monotonic()
        patience = self.patience or 0.0
        if time.monotonic() - max(self.moved, began) >= patience:
            raise Silent(f"nothing moved for {patience:g} s")


def send_all(channel: paramiko.Channel, piece: bytes) -> None:
    """Sends ``piece``. Raises ``Silent`` where nothing is taken for the channel's timeout, ``Closed``."""
    while piece:
        piece = piece[send_some(channel, piece) :]


def send_some(channel: paramiko.Channel, piece: bytes) -> int:
    """Sends the beginning of ``piece``, and returns how much. Raises as ``send_all``."""
    try:
        sent = int(channel.send(piece))
    except TimeoutError:
        raise Silent(f"nothing moved for {channel.gettimeout() or 0:g} s") from None
    except (paramiko.SSHException, EOFError, OSError) as error:
        raise _closed(error) from None
    if not sent:
        raise Closed("the other side went away")
    return sent


def _closed(error: Exception) -> Closed:
    return Closed(f"the other side went away: {str(error) or 'the connection broke'}")


class Tunnel:
    """A channel as a socket for the transport of the next hop, which takes its packets in small parts."""

    def __init__(self, channel: paramiko.Channel) -> None:
        """Takes the channel over."""
        self._channel = channel
        self._rest = memoryview(b"")

    @property
    def _closed(self) -> bool:
        """What paramiko asks of its socket when it is closed."""
        return bool(self._channel.closed)

    def settimeout(self, seconds: float | None) -> None:
        """As a socket's."""
        self._channel.settimeout(seconds)

    def recv(self, size: int) -> bytes:
        """As a socket's."""
        if not self._rest:
            self._rest = memoryview(self._channel.recv(ALL))
        part, self._rest = self._rest[:size], self._rest[size:]
        return bytes(part)

    def send(self, data: bytes) -> int:
        """As a socket's."""
        return int(self._channel.send(data))

    def close(self) -> None:
        """As a socket's; never waits long for a way that may be broken."""
        within(1.0, self._channel.close)


def within(seconds: float, action: Callable[[], object]) -> None:
    """Does ``action``, and goes on without it after ``seconds``: on a broken way paramiko may wait for ever."""
    thread = threading.Thread(target=_quietly, args=(action,), name="hil-ssh-ending", daemon=True)
    thread.start()
    thread.join(seconds)


def _quietly(action: Callable[[], object]) -> None:
    try:
        action()
    except (paramiko.SSHException, EOFError, OSError, WireError):
        return
